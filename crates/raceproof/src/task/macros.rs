//! Sugar.

/// Spawns a task of a [`Supervisor`](crate::task::Supervisor) by name; one of each name runs at a time unless `overlap`
/// says otherwise. The value is that of [`Submit::spawn`](crate::task::Submit::spawn).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use raceproof::background_task;
/// use raceproof::task::{Overlap, Supervisor};
///
/// let supervisor = Supervisor::new();
/// background_task!(supervisor, "index", async { println!("indexing") })?;
/// background_task!(supervisor, "sync", overlap = Overlap::Replace, |cancel| async move {
///     cancel.cancelled().await;
/// })?;
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! background_task {
    ($supervisor:expr, $name:expr, overlap = $overlap:expr, |$cancel:ident| $body:expr $(,)?) => {
        $supervisor.task($name).overlap($overlap).spawn(move |$cancel: $crate::task::CancelToken| $body)
    };
    ($supervisor:expr, $name:expr, overlap = $overlap:expr, $body:expr $(,)?) => {
        $supervisor.task($name).overlap($overlap).spawn(move |_: $crate::task::CancelToken| $body)
    };
    ($supervisor:expr, $name:expr, |$cancel:ident| $body:expr $(,)?) => {
        $supervisor.task($name).spawn(move |$cancel: $crate::task::CancelToken| $body)
    };
    ($supervisor:expr, $name:expr, $body:expr $(,)?) => {
        $supervisor.task($name).spawn(move |_: $crate::task::CancelToken| $body)
    };
}
