//! What [tokio-console](https://docs.rs/tokio-console) looks at: every task and resource of the process, live.
//!
//! Owns: the layer that serves it. It needs a program that was built with `RUSTFLAGS="--cfg tokio_unstable"`, and says
//! so if it was not. Off by default, and not for production by itself: it keeps what happened to every task for an hour
//! and listens on 127.0.0.1:6669 (`TOKIO_CONSOLE_BIND`), without a password.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Why there is nothing to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// Tokio tells nothing about its tasks in this build.
    #[error("this program was not built for tokio-console; build it with RUSTFLAGS=\"--cfg tokio_unstable\"")]
    NotInstrumented,
}

/// The layer, for the program's subscriber. It serves from a thread of its own, and reads the `TOKIO_CONSOLE_*`
/// variables.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// match raceproof::console::layer() {
///     Ok(console) => {
///         let subscriber = tracing_subscriber::registry().with(console);
///         tracing::subscriber::set_global_default(subscriber).expect("there is no other");
///     }
///     Err(error) => eprintln!("{error}"),
/// }
/// ```
///
/// # Errors
/// [`ConsoleError::NotInstrumented`], and nothing is started.
pub fn layer<S>() -> Result<impl Layer<S> + Send + Sync, ConsoleError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if cfg!(tokio_unstable) { Ok(console_subscriber::spawn()) } else { Err(ConsoleError::NotInstrumented) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_tells_nothing_is_named_as_the_reason() {
        let layer = layer::<tracing_subscriber::Registry>();
        assert_eq!(layer.is_ok(), cfg!(tokio_unstable));
        if let Err(error) = layer {
            assert!(error.to_string().contains("--cfg tokio_unstable"), "{error}");
        }
    }
}
