//! A service is down for three seconds while fifty clients call it ten times a second each: once with the usual loop of
//! attempts, once behind a policy. Counts what the service has to bear, and what its clients get.
//!
//! `cargo run -p raceproof --example outage` (time is simulated: it takes no ten seconds)

use std::cell::Cell;
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use raceproof::resilience::recovery::{Outcome, Recovery, Severity, Strategy};
use raceproof::resilience::{Breaker, Debounce, Policy, Retry};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

const CLIENTS: u32 = 50;
const CALLS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Answers after 20 ms; from the third second to the sixth it takes 50 ms to fail.
#[derive(Default)]
struct Payments {
    calls_while_down: Cell<u32>,
    served: Cell<u32>,
}

impl Payments {
    async fn pay(&self, began: Instant) -> Result<(), Error> {
        let down = (3.0..6.0).contains(&began.elapsed().as_secs_f64());
        if down {
            self.calls_while_down.set(self.calls_while_down.get() + 1);
            sleep(Duration::from_millis(50)).await;
            return Err(Error::from(ErrorKind::ConnectionRefused));
        }
        sleep(Duration::from_millis(20)).await;
        self.served.set(self.served.get() + 1);
        Ok(())
    }
}

/// The loop that everybody writes: three attempts, a delay that doubles, no jitter, no budget.
async fn with_a_loop(payments: &Payments, began: Instant) -> Result<(), Error> {
    let mut delay = Duration::from_millis(100);
    for _ in 0..2 {
        if payments.pay(began).await.is_ok() {
            return Ok(());
        }
        sleep(delay).await;
        delay *= 2;
    }
    payments.pay(began).await
}

/// Runs all clients; what the service had to bear while it was down, and when the first call after that succeeded.
async fn run(policy: Option<Policy>) -> (u32, Duration) {
    let payments = Rc::new(Payments::default());
    let (began, back) = (Instant::now(), Rc::new(Cell::new(None)));
    let clients = LocalSet::new();
    for client in 0..CLIENTS {
        let (payments, policy, back) = (Rc::clone(&payments), policy.clone(), Rc::clone(&back));
        clients.spawn_local(async move {
            sleep(Duration::from_millis(u64::from(client) * 2)).await;
            for _ in 0..CALLS {
                let paid = match &policy {
                    Some(policy) => policy.run(|| payments.pay(began)).await.is_ok(),
                    None => with_a_loop(&payments, began).await.is_ok(),
                };
                if paid && began.elapsed() > Duration::from_secs(6) && back.get().is_none() {
                    back.set(Some(began.elapsed()));
                }
                sleep(PAUSE).await;
            }
        });
    }
    clients.await;
    (payments.calls_while_down.get(), back.get().expect("the service came back") - Duration::from_secs(6))
}

/// What is told once, however many clients notice: the newest of many events, and one attempt to recover.
async fn aftermath() {
    let told = Rc::new(Cell::new(0));
    let (status, mut page) = Debounce::builder(Duration::from_millis(300)).channel();
    for failures in 1..=500 {
        status.push(failures).expect("the page is open");
    }
    drop(status);
    while let Some(failures) = page.recv().await {
        told.set(told.get() + 1);
        println!("status page: {failures} failures");
    }
    assert_eq!(told.get(), 1);

    let strategy = Strategy::new(3, Duration::from_secs(5));
    let recovery = Recovery::builder().strategy("payments", strategy, async |_attempt| Ok(())).build();
    assert_eq!(recovery.report("payments", Severity::High, "refused").await, Outcome::Recovered);
    assert!(matches!(recovery.report("payments", Severity::High, "refused").await, Outcome::CoolingDown { .. }));
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() {
    let (looped, looped_back) = run(None).await;
    println!("a loop of three attempts: {looped} calls while it was down, back after {looped_back:?}");

    let breaker = Breaker::builder("payments").consecutive(5).open_for(Duration::from_millis(500)).build();
    let policy = Policy::builder()
        .timeout(Duration::from_secs(2))
        .retry(Retry::new())
        .breaker(breaker.clone())
        .attempt_timeout(Duration::from_secs(1))
        .build();
    let (guarded, guarded_back) = run(Some(policy)).await;
    println!("behind a policy: {guarded} calls while it was down, back after {guarded_back:?}");
    println!("{:?}", breaker.stats());

    assert!(looped > 400, "the loop makes {looped} calls");
    assert!(
        guarded < 60,
        "the policy lets {guarded} calls through: one probe every half second, and what was under way"
    );
    assert!(guarded_back < Duration::from_secs(1), "the first probe after the end finds out");
    aftermath().await;
}
