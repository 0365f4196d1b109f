//! The kit passes a resource that is fenced, and finds each way of not being so.

use std::sync::Mutex;

use super::*;
use crate::fence::{CheckError, Fence, MemoryFences};

/// How a resource falls short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    /// It takes whatever comes.
    NoCheck,
    /// It takes newer tokens only.
    RefusesEqual,
    /// It says that it refused, and writes.
    WritesAnyway,
    /// It takes "9" for newer than "10".
    ComparesTexts,
    /// It forgets the newest token when it is opened anew.
    Forgets,
    /// Between comparing and writing, others run.
    ChecksThenActs,
    /// It keeps 32 bits.
    Truncates,
}

struct Cell {
    flaw: Flaw,
    state: Mutex<(Fence, Option<String>)>,
}

impl Cell {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, state: Mutex::new((Fence::new(), None)) }
    }

    fn admits(&self, token: Token) -> bool {
        let mut state = self.state.lock().unwrap();
        let newest = state.0.exclusive();
        let admitted = match self.flaw {
            Flaw::NoCheck => true,
            Flaw::RefusesEqual => token > newest,
            Flaw::ComparesTexts => token.to_string() >= newest.to_string() || newest == Token::new(0),
            Flaw::Truncates => token.as_u64() as u32 >= newest.as_u64() as u32,
            _ => token >= newest,
        };
        if admitted {
            state.0 = Fence::restore(token, Token::new(0));
        }
        admitted
    }
}

impl Resource for Cell {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let admitted = self.admits(token);
        if self.flaw == Flaw::ChecksThenActs {
            for _ in 0..token.as_u64() % 5 {
                tokio::task::yield_now().await;
            }
        }
        if admitted || self.flaw == Flaw::WritesAnyway {
            self.state.lock().unwrap().1 = Some(value.to_owned());
        }
        Ok(if admitted { Verdict::Accepted } else { Verdict::Refused })
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(self.state.lock().unwrap().1.clone())
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        if self.flaw == Flaw::Forgets {
            self.state.lock().unwrap().0 = Fence::new();
        }
        Ok(())
    }
}

async fn failures(flaw: Flaw) -> Vec<Check> {
    let report = replay(Cell::new(flaw), Token::new(1)).await;
    report.failures().map(|(check, _)| check).collect()
}

#[tokio::test]
async fn l9_a_fenced_resource_passes() {
    assert_eq!(failures(Flaw::None).await, []);
    let report = replay(Cell::new(Flaw::None), Token::new(123_456_789_012)).await;
    assert!(report.is_fenced(), "{report}");
}

#[tokio::test]
async fn l9_a_resource_that_does_not_check_fails_and_is_told_how() {
    let unfenced = replay(Cell::new(Flaw::NoCheck), Token::new(1)).await.into_result().unwrap_err();
    let failed: Vec<Check> = unfenced.report.failures().map(|(check, _)| check).collect();
    for check in [Check::StaleIsRefused, Check::StaleLeavesNoTrace, Check::RemembersAcrossReopen] {
        assert!(failed.contains(&check), "{unfenced}");
    }
    assert!(unfenced.to_string().contains("FAILED  a stale token is refused: token 2 was accepted after token 3"));
}

#[tokio::test]
async fn each_flaw_fails_the_check_that_is_about_it() {
    for (flaw, check) in [
        (Flaw::RefusesEqual, Check::EqualIsAccepted),
        (Flaw::WritesAnyway, Check::StaleLeavesNoTrace),
        (Flaw::ComparesTexts, Check::ComparesAsNumbers),
        (Flaw::Forgets, Check::RemembersAcrossReopen),
        (Flaw::ChecksThenActs, Check::NewestWinsRaces),
        (Flaw::Truncates, Check::ComparesInFull),
    ] {
        let failed = failures(flaw).await;
        assert!(failed.contains(&check), "{flaw:?}: {failed:?}");
    }
}

/// What a service with its fence in memory is: right until it restarts.
struct InMemory {
    fences: MemoryFences,
    value: Mutex<Option<String>>,
}

impl Resource for InMemory {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let mut standing = self.value.lock().unwrap();
        match self.fences.check_now("r", token) {
            Ok(()) => *standing = Some(value.to_owned()),
            Err(CheckError::Stale(_)) => return Ok(Verdict::Refused),
            Err(CheckError::Store(error)) => return Err(error.into()),
        }
        Ok(Verdict::Accepted)
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(self.value.lock().unwrap().clone())
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        self.fences = MemoryFences::default();
        Ok(())
    }
}

#[tokio::test]
async fn a_fence_in_memory_before_a_value_that_lasts_fails_on_reopening_alone() {
    let resource = InMemory { fences: MemoryFences::default(), value: Mutex::new(None) };
    let report = replay(resource, Token::new(1)).await;
    let failed: Vec<Check> = report.failures().map(|(check, _)| check).collect();
    // The stale write that got through stands until the newest holder writes again.
    assert_eq!(failed, [Check::RemembersAcrossReopen], "{report}");
}
