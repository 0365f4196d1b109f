//! An application of four services that starts in order, and is told to end by SIGTERM.
//!
//! ```sh
//! cargo run -p raceproof --features signal --example guarded_shutdown
//! ```
//!
//! The web server drains before anything stops. The mailer hangs when it is stopped: it is named, and the database
//! below it is closed all the same. The program sends the signal to itself.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::service::Service;
use raceproof::startup::{Startup, Unit};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::sleep;

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, text: &str) {
        println!("{text}");
        self.0.lock().expect("nobody panics while it is locked").push(text.to_owned());
    }

    /// A piece of a service's life that takes a while.
    fn says(&self, text: &'static str) -> impl Fn() -> Work + Send + Sync + 'static {
        let log = self.clone();
        move || {
            let log = log.clone();
            Box::pin(async move {
                sleep(Duration::from_millis(20)).await;
                log.add(text);
                Ok(())
            })
        }
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let log = Log::default();
    let (opens, closes) = (log.clone(), log.clone());
    let database = Service::builder(move || {
        let log = opens.clone();
        async move {
            log.add("database opened");
            Ok::<_, String>(())
        }
    })
    .clean_up(move |_| {
        let log = closes.clone();
        async move { log.add("database closed") }
    })
    .build();

    let web = Unit::new("web", log.says("web started"))
        .after(["cache", "mailer"])
        .drain(log.says("web drained"))
        .stop(log.says("web stopped"));
    let cache = Unit::new("cache", log.says("cache warmed")).after(["database"]);
    let mailer = Unit::new("mailer", log.says("mailer started"))
        .after(["database"])
        .stop(std::future::pending::<Result<(), String>>)
        .stop_timeout(Duration::from_millis(300));
    let signals = Unit::new("signal-to-itself", || async {
        tokio::spawn(async {
            sleep(Duration::from_millis(100)).await;
            kill_process(getpid(), Signal::TERM).expect("a process may signal itself");
        });
        Ok::<_, String>(())
    });

    let app = Startup::new()
        .unit(web)
        .unit(cache)
        .unit(mailer)
        .unit(Unit::service("database", &database))
        .unit(signals.after(["web"]));
    let report = app.run().await?;

    println!("{report}");
    assert_eq!(report.stuck.iter().map(|name| &**name).collect::<Vec<_>>(), ["mailer"]);
    let log = log.0.lock().expect("nobody panics while it is locked").join(", ");
    let (start, end) = log.split_once(", web started, ").ok_or("the web server did not start")?;
    assert!(start.starts_with("database opened, "), "{start}");
    assert_eq!(end, "web drained, web stopped, database closed");
    Ok(())
}
