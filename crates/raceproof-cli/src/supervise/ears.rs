//! The wrapper's ears: one thread that waits on the watchdog and on signals, and passes on what it hears.
//!
//! A thread, because the runtime's own way to wait on a foreign descriptor is not safe.

use std::io;
use std::sync::Arc;
use std::thread;

use raceproof_core::guard::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::link::{self, Link, ToWrapper};
use super::signals::{self, Signals};

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The watchdog said something.
    Message(ToWrapper),
    /// The watchdog is gone.
    Gone,
    /// A child changed its state.
    Child,
    /// A signal came.
    Signal(Signal),
}

/// What the thread hears, in order. Bounded by what a watchdog says and people send.
#[derive(Debug)]
pub(crate) struct Ears(UnboundedReceiver<Heard>);

impl Ears {
    /// Listens from here on.
    pub(crate) fn open(link: Arc<Link>, signals: Signals) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        thread::Builder::new().name("ears".into()).spawn(move || listen(&link, &signals, &sender))?;
        Ok(Self(receiver))
    }

    /// The next thing. Cancel safe. After the watchdog's end there is nothing else to be told.
    pub(crate) async fn next(&mut self) -> Heard {
        self.0.recv().await.unwrap_or(Heard::Gone)
    }
}

fn listen(link: &Link, signals: &Signals, to: &UnboundedSender<Heard>) {
    let mut linked = true;
    loop {
        let mut wanted = vec![PollFd::new(signals, PollFlags::IN)];
        if linked {
            wanted.push(PollFd::new(link, PollFlags::IN));
        }
        match poll(&mut wanted, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        // Signals first: that a child ended is known before that it fell silent.
        while let Ok(Some(came)) = signals.next() {
            let heard = match came {
                signals::Came::Child => Heard::Child,
                signals::Came::Signal(signal) => Heard::Signal(signal),
            };
            if to.send(heard).is_err() {
                return;
            }
        }
        while linked {
            let heard = match link.receive() {
                Ok(link::Came::Nothing) => break,
                Ok(link::Came::Message(message, _)) => Heard::Message(message),
                Ok(link::Came::Gone) | Err(_) => {
                    linked = false;
                    Heard::Gone
                }
            };
            if to.send(heard).is_err() {
                return;
            }
        }
    }
}
