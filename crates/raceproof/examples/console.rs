//! A program to look at with tokio-console: a task that ticks, and one that waits for it.
//!
//! `RUSTFLAGS="--cfg tokio_unstable" CONSOLE_SECONDS=60 cargo run --example console --features console`, then `tokio-console`.

use std::time::Duration;

use raceproof::events::Bus;
use tracing_subscriber::layer::SubscriberExt as _;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without this variable it is over at once.
    let seconds = std::env::var("CONSOLE_SECONDS").ok().map(|text| text.parse()).transpose()?.unwrap_or(0);
    match raceproof::console::layer() {
        Ok(console) => tracing::subscriber::set_global_default(tracing_subscriber::registry().with(console))?,
        Err(error) => eprintln!("nothing to look at: {error}"),
    }
    let ticks = Bus::<u64>::new();
    let mut heard = ticks.subscribe("console").receiver()?;
    let listener = tokio::spawn(async move { heard.recv().await.is_ok() });
    ticks.publish(0).await?;
    assert!(listener.await?, "the first tick is heard");
    for tick in 1..=seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ticks.publish(tick).await?;
    }
    Ok(())
}
