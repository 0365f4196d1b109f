//! A value behind a lock, permits and readers, each of one resource, beside Tokio's. Ours says who waits for whom, since
//! when and from which line, all of the time; Tokio's does not.

use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Result;
use raceproof::lock::{AsyncLock, Locks, Semaphore};

use crate::frame::{Row, repeat, warm_up};

const OURS: &str = "raceproof";

pub(super) fn rows() -> [Row; 3] {
    let value = Row::new("diagnosed", 400_000)
        .system("tokio-mutex", |times| async move {
            let value = Arc::new(tokio::sync::Mutex::new(0_u64));
            let sample = repeat(times, || add(&value)).await?;
            counted(*value.lock().await, times)?;
            Ok(sample)
        })
        .system(OURS, |times| async move {
            let value = AsyncLock::new(0_u64);
            let sample = repeat(times, || add_ours(&value)).await?;
            counted(*value.acquire().await?, times)?;
            Ok(sample)
        })
        .target(OURS, "tokio-mutex", 1.4);
    let permits = Row::new("permits", 100_000)
        .system("tokio-semaphore", |times| async move {
            let semaphore = tokio::sync::Semaphore::new(8);
            let cycle = || async {
                drop(semaphore.acquire().await?);
                Ok(())
            };
            repeat(times, cycle).await
        })
        .system(OURS, |times| async move {
            let semaphore = Semaphore::new(NonZeroU32::new(8).expect("it is not zero"));
            let cycle = || async {
                drop(semaphore.acquire().await?);
                Ok(())
            };
            repeat(times, cycle).await
        });
    let readers = Row::new("shared", 100_000)
        .system("tokio-rwlock", |times| async move {
            let lock = tokio::sync::RwLock::new(());
            let cycle = || async {
                drop(lock.read().await);
                Ok(())
            };
            repeat(times, cycle).await
        })
        .system(OURS, |times| async move {
            let lock = Locks::new().lock("key").shared();
            let cycle = || async {
                drop(lock.acquire().await?);
                Ok(())
            };
            repeat(times, cycle).await
        });
    [value, permits, readers]
}

async fn add(value: &tokio::sync::Mutex<u64>) -> Result<()> {
    *value.lock().await += 1;
    Ok(())
}

async fn add_ours(value: &AsyncLock<u64>) -> Result<()> {
    *value.acquire().await? += 1;
    Ok(())
}

/// A row that lost an addition has measured no lock.
fn counted(sum: u64, times: usize) -> Result<()> {
    let wanted = times + warm_up(times);
    anyhow::ensure!(usize::try_from(sum)? == wanted, "{sum} of {wanted} additions");
    Ok(())
}
