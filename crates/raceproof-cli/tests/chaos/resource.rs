//! The resource: a counter in a file behind a socket, which may or may not refuse a token older than one it has seen.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::increment::HURRY;

/// Everything that happened to the counter.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The greatest token that read or wrote.
    pub(crate) highest: u64,
    /// The token that read last and has not written.
    pub(crate) open: Option<u64>,
    /// The tokens of the writes that were taken, in order.
    pub(crate) taken: Vec<u64>,
    /// Reads and writes that were refused.
    pub(crate) refused: Vec<u64>,
    /// Writes that were taken although a later token had been seen.
    pub(crate) stale: Vec<u64>,
    /// Writes that were taken and did not follow what the counter was: an increment is lost.
    pub(crate) lost: Vec<u64>,
}

/// The resource while it serves.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) address: SocketAddr,
    file: PathBuf,
    checks: bool,
    history: Arc<Mutex<History>>,
    /// Whether whoever reads from here on is to write at once.
    hurry: Arc<AtomicBool>,
}

impl Resource {
    /// Serves `counter` in this directory.
    pub(crate) fn start(dir: &Path, checks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let file = dir.join("counter");
        std::fs::write(&file, "0").expect("a file");
        let resource = Self { address, file, checks, history: Arc::default(), hurry: Arc::default() };
        let serving = resource.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serving, stream) = (serving.clone(), stream.expect("a connection"));
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        resource
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics with it")
    }

    /// Whoever reads from here on writes at once.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// What the file says.
    pub(crate) fn counter(&self) -> u64 {
        std::fs::read_to_string(&self.file).expect("the counter").parse().expect("a number")
    }

    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a descriptor");
        // A client that was killed breaks off.
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            let token = words[1].parse().expect("a token");
            let answer = match words[0] {
                "read" => self.read(token).map(|value| {
                    if self.hurry.load(Ordering::Relaxed) { format!("{value} {HURRY}") } else { value.to_string() }
                }),
                _ => self.write(token, words[2].parse().expect("a value")).then(|| "ok".to_owned()),
            };
            let answer = answer.unwrap_or_else(|| "stale".to_owned());
            if writer.write_all(format!("{answer}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// A read says who is at work: from then on an older token is refused.
    fn read(&self, token: u64) -> Option<u64> {
        let mut history = self.history();
        if self.checks && token < history.highest {
            history.refused.push(token);
            return None;
        }
        history.highest = history.highest.max(token);
        history.open = Some(token);
        Some(self.counter())
    }

    fn write(&self, token: u64, value: u64) -> bool {
        let mut history = self.history();
        if self.checks && token < history.highest {
            history.refused.push(token);
            return false;
        }
        if token < history.highest {
            history.stale.push(token);
        }
        if value != self.counter() + 1 {
            history.lost.push(token);
        }
        history.highest = history.highest.max(token);
        history.taken.push(token);
        if history.open == Some(token) {
            history.open = None;
        }
        std::fs::write(&self.file, value.to_string()).expect("a file");
        true
    }
}

impl History {
    /// The tokens that were taken more than once.
    pub(crate) fn repeated(&self) -> usize {
        self.taken.len() - self.taken.iter().collect::<BTreeSet<_>>().len()
    }
}
