//! Parts of a program that do not know each other share one breaker, one quota, one lock by their names, built as the
//! settings say and seen in one place.
//!
//! `cargo run -p raceproof --example named_instances --features config` (time is simulated: it takes no ten seconds)
//!
//! The usual way is a global of each kind, made when it is first used: two callers at that moment make two, and whoever
//! comes second with other settings gets the first one's, without a word. Here it is built once, and other settings are an
//! error.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use raceproof::config::{BreakerConfig, Config};
use raceproof::registry::{Registry, RegistryError, Value};
use raceproof::resilience::recovery::{Outcome, Recovery, Severity, Strategy};
use raceproof::resilience::{Debounce, Policy};
use tokio::task::JoinSet;
use tokio::time::Instant;

const SETTINGS: &str = r#"
    [async]
    timeout = "2s"

    [breaker.payments]
    failures = 3
    open-for = "5s"

    [retry.payments]
    attempts-max = 2

    [rate-limit.mail]
    calls = 10
    per = "1s"

    [rate-limit.login]
    calls = 5
    per = "1m"

    [semaphore.exports]
    permits = 2

    [throttle.status]
    every = "100ms"
"#;

/// One part of the program: pays, and thinks that the service is down.
async fn pay(registry: &Registry) -> Result<(), io::Error> {
    let breaker = registry.breaker("payments");
    let down = breaker.call(async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) });
    down.await.map_err(io::Error::other)
}

/// Another: refunds, behind a policy that is made of the same.
fn refunds(registry: &Registry) -> Result<Policy, RegistryError> {
    let policy = Policy::builder()
        .timeout(Duration::from_secs(2))
        .retry(registry.retry("payments"))
        .breaker(registry.breaker("payments"))
        .build();
    registry.register_policy("refunds", &policy)?;
    Ok(policy)
}

/// Thirty mails from as many tasks, ten of them at once and then ten a second.
async fn mails(registry: &Registry) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..30 {
        let limiter = registry.rate_limiter("mail");
        senders.spawn(async move { limiter.until_ready().await });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    Ok(began.elapsed())
}

/// Somebody tries passwords, twenty for each name: every name has a quota of its own.
fn logins(registry: &Registry) -> [usize; 2] {
    let limiter = registry.keyed_rate_limiter("login");
    ["ann", "bob"].map(|name| (0..20).filter(|_| limiter.check(name).is_ok()).count())
}

/// A report that hangs is given up when every other room would give up, too.
async fn hang(registry: &Registry) -> Duration {
    let began = Instant::now();
    let report = registry.timeout("report").run(std::future::pending::<()>()).await;
    println!("report: {}", report.expect_err("it hangs"));
    began.elapsed()
}

/// Twenty exports, two at a time; one report, written by one at a time.
async fn exports(registry: &Registry) -> Result<u32, Box<dyn Error>> {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (registry, now, most) = (registry.clone(), Arc::clone(&now), Arc::clone(&most));
        tasks.spawn(async move {
            let _permit = registry.semaphore("exports").acquire().await?;
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _report = registry.lock("report").acquire().await?;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, raceproof::AcquireError>(())
        });
    }
    while let Some(exported) = tasks.join_next().await {
        exported??;
    }
    Ok(most.load(Ordering::Relaxed))
}

/// The status page: many changes, one update; at most one update every 100 ms, however it comes about.
async fn status(registry: &Registry) -> Result<u32, Box<dyn Error>> {
    let updates = Arc::new(AtomicU32::new(0));
    let page = Debounce::builder(Duration::from_millis(20)).spawn({
        let (updates, throttle) = (Arc::clone(&updates), registry.throttle("status"));
        move |_newest: u32| {
            let (updates, throttle) = (Arc::clone(&updates), throttle.clone());
            async move {
                if throttle.begin().await.is_ok() {
                    updates.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    registry.register_debounce("status", &page)?;
    for change in 0..500 {
        page.push(change)?;
    }
    page.close().await;
    Ok(updates.load(Ordering::Relaxed))
}

/// A number that an instance tells.
fn metric(registry: &Registry, room: &str, name: &str, metric: &str) -> Option<u64> {
    let all = registry.stats();
    let observed = all.iter().find(|observed| observed.room.as_str() == room && *observed.name == *name)?;
    let metrics = observed.stats.metrics();
    match metrics.iter().find(|known| known.name == metric)?.value {
        Value::Total(number) | Value::Number(number) => Some(number),
        _ => None,
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::configured(Config::from_toml(SETTINGS)?);

    let strategy = Strategy::new(3, Duration::from_secs(5));
    let recovery = Recovery::builder().strategy("payments", strategy, async |_attempt| Ok(())).build();
    registry.register_recovery("errors", &recovery)?;

    let refunds = refunds(&registry)?;
    for _ in 0..3 {
        let error = pay(&registry).await.expect_err("the service is down");
        println!("payment: {error}");
    }
    // The payments opened the breaker, so not one refund is tried.
    let refused = refunds.run(async || Ok::<_, io::Error>(())).await.expect_err("one breaker for both");
    println!("refund: {refused}");
    assert_eq!(refunds.stats().failed, 1);
    assert_eq!(recovery.report("payments", Severity::High, "refused").await, Outcome::Recovered);

    let conflict = registry.breaker_with("payments", BreakerConfig::default()).expect_err("the settings say three");
    println!("{conflict}");

    let took = mails(&registry).await?;
    println!("30 mails took {took:?}");
    assert!(took >= Duration::from_secs(2), "ten at once, and then ten a second");
    assert_eq!(logins(&registry), [5, 5]);
    assert_eq!(hang(&registry).await.as_secs(), 2, "as `[async]` says");
    let most = exports(&registry).await?;
    println!("at most {most} exports at a time");
    assert_eq!(most, 2);
    assert_eq!(status(&registry).await?, 1, "five hundred changes are one update");

    for observed in registry.stats() {
        println!("{} {}: {:?}", observed.room, observed.name, observed.stats);
    }
    assert_eq!(metric(&registry, "breaker", "payments", "failures"), Some(3));
    assert_eq!(metric(&registry, "rate_limit", "mail", "admitted"), Some(30));
    assert_eq!(metric(&registry, "keyed_rate_limit", "login", "refused"), Some(30));
    assert_eq!(metric(&registry, "timeout", "report", "timed_out"), Some(1));
    assert_eq!(metric(&registry, "semaphore", "exports", "taken"), Some(0));
    assert_eq!(metric(&registry, "debounce", "status", "pushed"), Some(500));
    assert_eq!(metric(&registry, "throttle", "status", "begun"), Some(1));
    assert_eq!(metric(&registry, "recovery", "errors", "recovered"), Some(1));
    #[cfg(feature = "prometheus")]
    assert!(registry.prometheus_page().contains("\nraceproof_breaker_opened_total{name=\"payments\"} 1\n"));
    Ok(())
}
