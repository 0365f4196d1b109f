//! A holder is frozen past its lease, thaws and writes. A plain file takes the late write; a fenced one refuses it.
//!
//! ```sh
//! raceproof serve &
//! cargo run -p raceproof --example fenced_file
//! ```
//!
//! The program starts itself a second time, as the holder that is frozen. `RACEPROOF_SERVER` names another server than
//! the one on this machine.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write, stdin};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use raceproof::fence::Token;
use raceproof::fence::file::{FencedFile, FileError};
use raceproof::{Guard, Raceproof};
use rustix::process::{Pid, Signal, kill_process};

const LOCK: &str = "example/price";
const TTL: Duration = Duration::from_secs(1);
/// The argument that makes a process the holder that is frozen; the directory follows.
const FROZEN: &str = "--frozen";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.as_slice() {
        [flag, dir] if flag == FROZEN => frozen_holder(Path::new(dir)).await,
        _ => next_holder().await,
    }
}

async fn take(name: &str) -> Result<Guard, Box<dyn Error>> {
    let server = env::var("RACEPROOF_SERVER").unwrap_or_else(|_| "http://127.0.0.1:7117".to_owned());
    let rp = Raceproof::builder(server).name(name).ttl(TTL).connect().await?;
    Ok(rp.lock(LOCK).acquire().await?)
}

/// Writes the price to both files, and says whether the fenced one took it.
fn write(dir: &Path, token: Token, price: &str) -> Result<bool, FileError> {
    let outcome = FencedFile::new(dir.join("fenced"))?.write(token, price.as_bytes());
    // There is nothing to stop this one.
    let _unchecked = fs::write(dir.join("plain"), price);
    match outcome {
        Ok(()) => Ok(true),
        Err(FileError::Stale(stale)) => {
            println!("{stale}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn frozen_holder(dir: &Path) -> Result<(), Box<dyn Error>> {
    let guard = take("frozen").await?;
    println!("{}", guard.token());
    // It is stopped while it waits here, and for longer than its lease.
    stdin().read_line(&mut String::new())?;
    let written = write(dir, guard.token(), "price of the frozen holder")?;
    println!("{}", if written { "written" } else { "refused" });
    Ok(())
}

async fn next_holder() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut frozen = Frozen::start(dir.path())?;
    println!("the first holder has token {}, and is frozen", frozen.line()?);
    frozen.signal(Signal::STOP)?;

    let guard = take("next").await?;
    println!("its lease of {TTL:?} ended: the next holder has token {}, and writes", guard.token());
    write(dir.path(), guard.token(), "price of the next holder")?;
    guard.release().await?;

    frozen.signal(Signal::CONT)?;
    frozen.process.stdin.take().ok_or("its input is gone")?.write_all(b"\n")?;
    println!("the first holder thaws, and writes: {}", frozen.line()?);
    println!("the fenced file: {}", frozen.line()?);

    let content = |name: &str| fs::read_to_string(dir.path().join(name));
    let (fenced, plain) = (content("fenced")?, content("plain")?);
    println!("in the fenced file stands the {fenced}, in the plain one the {plain}");
    if fenced != "price of the next holder" || plain != "price of the frozen holder" {
        return Err("the fence did not hold".into());
    }
    Ok(())
}

/// The other process, killed when it is dropped.
struct Frozen {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Frozen {
    fn start(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(FROZEN).arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let said = BufReader::new(process.stdout.take().ok_or("its output is gone")?);
        Ok(Self { process, said })
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.said.read_line(&mut line)? == 0 {
            return Err("the other process ended".into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
