//! What a task runs.

use std::fmt;
use std::pin::Pin;

use super::token::CancelToken;

pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The body of a task.
pub(super) enum Body {
    /// Can be started once.
    Once(Option<Box<dyn FnOnce(CancelToken) -> Running + Send>>),
    /// Can be started again.
    Many(Box<dyn FnMut(CancelToken) -> Running + Send>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Once(_) => "Once",
            Self::Many(_) => "Many",
        })
    }
}

impl Body {
    pub(super) fn once<B, F>(body: B) -> Self
    where
        B: FnOnce(CancelToken) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Finish,
    {
        Self::Once(Some(Box::new(move |cancel| finish(body(cancel)))))
    }

    pub(super) fn many<B, F>(mut body: B) -> Self
    where
        B: FnMut(CancelToken) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Finish,
    {
        Self::Many(Box::new(move |cancel| finish(body(cancel))))
    }

    /// Foreign code, as is what it returns.
    pub(super) async fn run(&mut self, cancel: CancelToken) -> Result<(), String> {
        match self {
            Self::Once(body) => match body.take() {
                Some(body) => body(cancel).await,
                // Only a body that can be started again is.
                None => Ok(()),
            },
            Self::Many(body) => body(cancel).await,
        }
    }
}

fn finish<F>(future: F) -> Running
where
    F: Future + Send + 'static,
    F::Output: Finish,
{
    Box::pin(async move { future.await.finish() })
}

/// What the body of a task may return: nothing, or a result whose error says why it failed.
pub trait Finish {
    /// The error as text.
    ///
    /// # Errors
    /// If the task failed.
    fn finish(self) -> Result<(), String>;
}

impl Finish for () {
    fn finish(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T, E: fmt::Display> Finish for Result<T, E> {
    fn finish(self) -> Result<(), String> {
        self.map(drop).map_err(|error| error.to_string())
    }
}

/// A body that loops for ever returns `!`, which has no name of its own on stable Rust.
#[expect(private_interfaces, reason = "the type is `!`, which is not private")]
impl Finish for <fn() -> ! as Returns>::Output {
    fn finish(self) -> Result<(), String> {
        self
    }
}

/// Names what a function returns.
trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}
