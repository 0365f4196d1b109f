//! The command under the lock: reads the counter, takes its time, writes one more.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// Makes this file the command.
pub(crate) const ARGUMENT: &str = "__increment";
/// What the resource says behind a value when the run is at its end.
pub(crate) const HURRY: &str = "hurry";
/// The resource refused: another holder has been there since.
pub(crate) const STALE: u8 = 3;

/// `ADDRESS MILLISECONDS`; prints its token once the write was acknowledged.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> ExitCode {
    let address = args.next().expect("an address");
    let pause = args.next().and_then(|text| text.parse().ok()).expect("milliseconds");
    let token = std::env::var("RACEPROOF_FENCE").expect("a token");
    let mut stream = TcpStream::connect(address).expect("the resource");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
    let mut ask = |line: String| {
        // In one piece: a frozen process is to have sent all of it, or nothing.
        stream.write_all(format!("{line}\n").as_bytes()).expect("the resource reads");
        answers.next().expect("an answer").expect("text")
    };
    let answer = ask(format!("read {token}"));
    let mut words = answer.split(' ');
    let Some(Ok(value)) = words.next().map(str::parse::<u64>) else { return ExitCode::from(STALE) };
    if words.next() != Some(HURRY) {
        std::thread::sleep(Duration::from_millis(pause));
    }
    if ask(format!("write {token} {}", value + 1)) != "ok" {
        return ExitCode::from(STALE);
    }
    println!("{token}");
    ExitCode::SUCCESS
}
