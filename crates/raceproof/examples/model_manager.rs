//! A model that one task owns, and callers who give up: their requests are not executed, and a prompt that makes the
//! model panic costs nobody else's answer.
//!
//! ```sh
//! cargo run -p raceproof --example model_manager
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raceproof::worker::{CallError, Handler, Worker};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Loads once, when its weights are there, then answers one prompt at a time.
struct Model {
    weights: Arc<Notify>,
    loaded: bool,
    inferences: Arc<AtomicU32>,
}

impl Handler<String> for Model {
    type Reply = usize;

    async fn handle(&mut self, prompt: String) -> usize {
        if !self.loaded {
            self.weights.notified().await;
            self.loaded = true;
        }
        self.inferences.fetch_add(1, Ordering::Relaxed);
        assert!(prompt != "poison", "the model cannot stand this prompt");
        prompt.len()
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (inferences, weights) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let (count, there) = (Arc::clone(&inferences), Arc::clone(&weights));
    let model = Worker::builder("model").mailbox(16).timeout(Duration::from_secs(30)).spawn(move || Model {
        weights: Arc::clone(&there),
        // A model that is made anew after a panic finds the weights in memory.
        loaded: count.load(Ordering::Relaxed) > 0,
        inferences: Arc::clone(&count),
    })?;

    let patient = model.clone();
    let patient = tokio::spawn(async move { patient.call("patience".to_owned()).await });
    while model.stats().in_hand == 0 {
        tokio::task::yield_now().await;
    }
    // While the model loads, ten callers come and give up.
    let mut impatient = JoinSet::new();
    for _ in 0..10 {
        let model = model.clone();
        impatient.spawn(async move { model.call_within("hurry".to_owned(), Duration::from_millis(5)).await });
    }
    while let Some(answer) = impatient.join_next().await {
        assert_eq!(answer?, Err(CallError::NotStarted("hurry".to_owned())), "the prompt is given back");
    }
    weights.notify_one();
    assert_eq!(patient.await?, Ok(8));

    let (hello, poison, world) =
        tokio::join!(model.call("hello".to_owned()), model.call("poison".to_owned()), model.call("world!".to_owned()));
    assert_eq!((hello, world), (Ok(5), Ok(6)));
    assert!(matches!(poison, Err(CallError::Panicked(_))));
    model.stop_within(Duration::from_secs(5)).await?;
    assert_eq!(inferences.load(Ordering::Relaxed), 4, "none for the impatient");
    println!("10 impatient prompts were never begun; the panic cost one answer of three");
    Ok(())
}
