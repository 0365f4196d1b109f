//! The state of a project that many change at a time, and views that follow it as streams.
//!
//! `cargo run -p raceproof --example project_state --features stream` (time is simulated)
//!
//! A change works on a copy: one that is refused half-way has changed nothing, and nobody hears of it. Changes are told of
//! before the next one can begin, so every view sees them in the order in which they were made.

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use raceproof::events::{Bus, Policy, Received, Subscriber};
use raceproof::lock::AsyncLock;
use tokio::task::JoinSet;
use tokio::time::sleep;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Project {
    revision: u64,
    /// How many lines each file has.
    files: BTreeMap<String, u64>,
}

/// What has changed.
#[derive(Debug)]
struct Changed {
    revision: u64,
    file: String,
    lines: u64,
}

#[derive(Clone)]
struct App {
    project: AsyncLock<Project>,
    changes: Bus<Changed>,
}

impl App {
    /// Gives a file so many lines more.
    async fn add_lines(&self, file: &str, lines: u64) -> Result<u64, Failure> {
        let mut project = self.project.acquire().await?;
        let mut next = project.clone();
        next.revision += 1;
        let length = next.files.entry(file.to_owned()).or_default();
        *length += lines;
        // Something is looked up on the way, and others run meanwhile.
        sleep(Duration::from_millis(2)).await;
        if *length > 1_000 {
            return Err(format!("{file} would be too long").into());
        }
        let changed = Changed { revision: next.revision, file: file.to_owned(), lines: *length };
        self.changes.publish(changed).await?;
        *project = next;
        Ok(project.revision)
    }
}

/// A view that wants everything: what it makes of the changes is the state.
async fn follow(changes: Subscriber<Changed>) -> Result<Project, Failure> {
    let mut view = Project::default();
    let mut changes = pin!(changes);
    while let Some(received) = changes.next().await {
        let changed = received?.event().ok_or("nothing is lost to who is waited for")?;
        assert_eq!(changed.revision, view.revision + 1, "in order, and each once");
        view.revision = changed.revision;
        view.files.insert(changed.file.clone(), changed.lines);
    }
    Ok(view)
}

/// A view that is too slow: where changes are missing it reads the state anew, and how often it had to.
async fn glance(app: App, mut changes: Subscriber<Changed>) -> Result<(Project, u32), Failure> {
    let (mut view, mut gaps) = (Project::default(), 0);
    while let Some(received) = changes.next().await {
        match received? {
            Received::Event(changed) if changed.revision > view.revision => {
                view.revision = changed.revision;
                view.files.insert(changed.file.clone(), changed.lines);
                sleep(Duration::from_millis(50)).await;
            }
            Received::Gap(_) => {
                gaps += 1;
                view = app.project.acquire().await?.clone();
            }
            _ => {}
        }
    }
    Ok((view, gaps))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), Failure> {
    let app =
        App { project: AsyncLock::new(Project::default()), changes: Bus::<Changed>::builder().capacity(64).build() };
    let window = tokio::spawn(follow(app.changes.subscribe("window").receiver()?));
    let slow = app.changes.subscribe("preview").policy(Policy::DropOldest).limit(4).receiver()?;
    let preview = tokio::spawn(glance(app.clone(), slow));
    let tests = app.changes.subscribe("tests").filter(|changed| changed.file.starts_with("test")).receiver()?;
    let tests = tokio::spawn(tests.count());

    let mut editors = JoinSet::new();
    for editor in 0..10_u64 {
        let app = app.clone();
        editors.spawn(async move {
            for change in 0..30 {
                let file = ["main.rs", "lib.rs", "test.rs"].into_iter().cycle().nth(change).unwrap_or_default();
                app.add_lines(file, editor + 1).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    for edited in editors.join_all().await {
        edited?;
    }

    // A change that is refused, and one whose client goes away in the middle of it.
    let before = app.project.acquire().await?.clone();
    let refused = app.add_lines("main.rs", 1_000).await.expect_err("it is too long");
    println!("{refused}");
    let gone = tokio::time::timeout(Duration::from_millis(1), app.add_lines("lib.rs", 1)).await;
    assert!(gone.is_err());
    assert_eq!(*app.project.acquire().await?, before);

    app.changes.close();
    let (view, gaps) = preview.await??;
    assert_eq!(window.await??, before);
    assert_eq!(view, before);
    assert_eq!(tests.await?, 100);
    assert_eq!(before.revision, 300);
    assert!(before.files.values().eq(&[550; 3]), "no line is lost: {before:?}");
    assert!(gaps > 0);
    println!("300 changes; the window saw each, the preview read the state anew {gaps} times, and both have it");
    Ok(())
}
