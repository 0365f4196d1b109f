//! A web application whose database is set up by the first of 200 concurrent requests, once.
//!
//! ```sh
//! cargo run -p raceproof --example database_once
//! ```
//!
//! The request that starts it is cancelled half-way, as when its client goes away: the set-up goes on. A first attempt
//! fails, as when the database is not up yet: every request that waited is told, and the next one tries again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raceproof::service::Service;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A pool of connections.
#[derive(Debug)]
struct Database {
    connection: u32,
}

/// Every connection that was ever made, and how many are open.
#[derive(Clone, Default)]
struct Server {
    attempts: Arc<AtomicU32>,
    open: Arc<AtomicU32>,
}

impl Server {
    async fn connect(self) -> Result<Database, String> {
        let connection = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(Duration::from_millis(100)).await;
        if connection == 1 {
            return Err("connection refused".to_owned());
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Database { connection })
    }
}

async fn handle(database: Service<Database, String>) -> Result<u32, String> {
    let database = database.get().await.map_err(|error| error.to_string())?;
    Ok(database.connection)
}

/// 200 requests at a time; gives the answers.
async fn requests(database: &Service<Database, String>) -> Vec<Result<u32, String>> {
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        requests.spawn(handle(database.clone()));
    }
    requests.join_all().await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::default();
    let (connects, closes) = (server.clone(), server.clone());
    let database = Service::builder(move || connects.clone().connect())
        .name("database")
        .timeout(Duration::from_secs(10))
        .clean_up(move |_| {
            let open = Arc::clone(&closes.open);
            async move {
                open.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .build();

    // The database is not up yet.
    let answers = requests(&database).await;
    assert!(answers.iter().all(|answer| *answer == Err("the service did not start: connection refused".to_owned())));
    println!("200 requests were told: connection refused ({} attempt)", database.stats().started);

    // It is. The client of the request that starts the set-up goes away after 50 of 100 ms.
    assert!(timeout(Duration::from_millis(50), handle(database.clone())).await.is_err());
    let answers = requests(&database).await;
    assert!(answers.iter().all(|answer| *answer == Ok(2)), "{answers:?}");
    assert_eq!(server.attempts.load(Ordering::SeqCst), 2);
    assert_eq!(server.open.load(Ordering::SeqCst), 1);
    println!("200 requests share connection 2; {:?}", database.stats());

    database.close().await?;
    assert_eq!(server.open.load(Ordering::SeqCst), 0);
    let refused = handle(database).await;
    assert_eq!(refused, Err("the service is closed".to_owned()));
    println!("closed: {refused:?}");
    Ok(())
}
