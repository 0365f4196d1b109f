//! Money moves between accounts, each behind a lock of its own, from many tasks at once.
//!
//! ```sh
//! cargo run -p raceproof --example transfers
//! ```
//!
//! A transfer that locks one account after the other is refused when it would wait in a circle, is told who waits for
//! whom from which line, and takes both at once instead. A client goes away in the middle of a transfer: nothing is
//! lost, and nobody waits for it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::AcquireError;
use raceproof::lock::{LockGuard, Locks, Semaphores};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const ACCOUNTS: usize = 5;

/// A bank whose books may only be read and written under the account's lock.
struct Bank {
    /// `Locks::over(Raceproof::connect(url).await?)`, and several processes share the accounts.
    accounts: Locks,
    /// Two requests of each customer are worked on at one time.
    customers: Semaphores,
    books: Mutex<HashMap<String, i64>>,
    refused: AtomicI64,
}

impl Bank {
    fn new() -> Self {
        let books = (0..ACCOUNTS).map(|account| (account.to_string(), 100)).collect();
        Self {
            accounts: Locks::new(),
            customers: Semaphores::new(const { std::num::NonZeroU32::new(2).unwrap() }),
            books: Mutex::new(books),
            refused: AtomicI64::new(0),
        }
    }

    /// One account after the other, as one would write it first.
    async fn transfer(&self, from: &str, to: &str, amount: i64) -> Result<(), AcquireError> {
        let first = self.accounts.lock(from).acquire().await?;
        tokio::task::yield_now().await;
        match self.accounts.lock(to).acquire().await {
            Ok(second) => self.book(from, to, amount, &[&first, &second]).await,
            Err(AcquireError::Deadlock(deadlock)) => {
                if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    println!("{deadlock}");
                    assert!(deadlock.to_string().contains("transfers.rs:"), "it says from where");
                }
                drop(first);
                let both = self.accounts.lock_all([from, to]).acquire().await?;
                self.book(from, to, amount, &[&both]).await;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Reads, waits for a disk, and writes: wrong as soon as two do so at one time.
    async fn book(&self, from: &str, to: &str, amount: i64, held: &[&dyn LockGuard]) {
        assert!(held.iter().all(|guard| guard.is_valid()));
        let read = |account: &str| self.books.lock().expect("nobody panics").get(account).copied().unwrap_or_default();
        let (left, right) = (read(from), read(to));
        tokio::task::yield_now().await;
        let mut books = self.books.lock().expect("nobody panics");
        books.insert(from.to_owned(), left - amount);
        books.insert(to.to_owned(), right + amount);
    }

    fn total(&self) -> i64 {
        self.books.lock().expect("nobody panics").values().sum()
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let bank = Arc::new(Bank::new());
    let mut tasks = JoinSet::new();
    for task in 0..200 {
        let bank = Arc::clone(&bank);
        tasks.spawn(async move {
            let customer = bank.customers.semaphore((task % 10).to_string());
            let _admitted = customer.acquire().await?;
            // Every other one in the opposite direction.
            let (one, other) = ((task / 2 % ACCOUNTS).to_string(), ((task / 2 + 1) % ACCOUNTS).to_string());
            let (from, to) = if task % 2 == 0 { (one, other) } else { (other, one) };
            let transfer = bank.transfer(&from, &to, 1);
            if task % 10 == 9 {
                // A client without patience: whatever it waits for or holds is given up.
                drop(timeout(Duration::from_micros(50), transfer).await);
                return Ok(());
            }
            transfer.await
        });
    }
    for result in tasks.join_all().await {
        result?;
    }
    assert_eq!(bank.total(), 100 * i64::try_from(ACCOUNTS)?, "money was lost or made");

    // Nobody is left who holds anything or waits for it.
    while bank.accounts.stats().held > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let stats = bank.accounts.stats();
    println!("{} transfers were refused and taken the other way, {} waits are left", stats.deadlocks, stats.waiting);
    assert_eq!(stats.waiting, 0);
    let all = bank.accounts.lock_all((0..ACCOUNTS).map(|account| account.to_string())).try_acquire().await?;
    all.release().await?;
    Ok(())
}
