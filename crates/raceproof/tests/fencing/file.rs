//! The file guard, among processes that are stopped and killed in the middle of their writes.

use std::env;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use raceproof::fence::file::{FencedFile, FileError};
use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
use raceproof::fence::{Stale, Token};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::{TempDir, tempdir};

const CHILD: &str = "RACEPROOF_TEST_FENCED_FILE";
const CHILD_TOKEN: &str = "RACEPROOF_TEST_FENCED_FILE_TOKEN";
/// Long enough to be seen half written, were it not replaced as a whole.
const LENGTH: usize = 40_000;

fn fenced(dir: &TempDir) -> FencedFile {
    FencedFile::new(dir.path().join("data")).unwrap()
}

struct Cell {
    file: FencedFile,
    dir: TempDir,
}

impl Resource for Cell {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        match self.file.write(token, value.as_bytes()) {
            Ok(()) => Ok(Verdict::Accepted),
            Err(FileError::Stale(_)) => Ok(Verdict::Refused),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(self.file.read()?.map(String::from_utf8).transpose()?)
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        self.file = fenced(&self.dir);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_a_fenced_file_passes_the_kit() {
    let dir = tempdir().unwrap();
    kit::replay(Cell { file: fenced(&dir), dir }, Token::new(1)).await.into_result().unwrap();
}

/// A content that tells whose it is, which write it is of, and whether it is whole.
fn content(token: Token, write: u64) -> Vec<u8> {
    let mut content = format!("{token} {write} ").into_bytes();
    content.resize(LENGTH, b'.');
    content
}

fn parse(content: &[u8]) -> (Token, u64) {
    assert_eq!(content.len(), LENGTH);
    let text = std::str::from_utf8(content).unwrap();
    let mut words = text.split(' ');
    let parsed = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
    assert!(words.next().unwrap().bytes().all(|byte| byte == b'.'));
    parsed
}

/// In the process that a test started by its own name: writes until it is refused, and says so.
fn was_child() -> bool {
    let Some(path) = env::var_os(CHILD) else { return false };
    let token: Token = env::var(CHILD_TOKEN).unwrap().parse().unwrap();
    let file = FencedFile::new(path).unwrap();
    let mut stdout = std::io::stdout();
    for write in 0.. {
        match file.write(token, &content(token, write)) {
            Ok(()) => writeln!(stdout, "\nwrote {write}").unwrap(),
            Err(FileError::Stale(Stale { newest, .. })) => {
                writeln!(stdout, "\nstale {newest}").unwrap();
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    true
}

/// A process that writes, killed when it is dropped.
struct Writer {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(test: &str, path: &Path, token: Token) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, path)
            .env(CHILD_TOKEN, token.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, said }
    }

    /// The number after the next line that begins with `word`.
    fn next(&mut self, word: &str) -> Option<u64> {
        let line = self.said.by_ref().map_while(Result::ok).find(|line| line.starts_with(word))?;
        line.strip_prefix(word)?.trim().parse().ok()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it, and returns when it is stopped.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn l9_a_writer_stopped_past_its_lease_and_resumed_is_refused() {
    if was_child() {
        return;
    }
    let dir = tempdir().unwrap();
    let file = fenced(&dir).lock_wait(Duration::from_millis(50));
    let test = "file::l9_a_writer_stopped_past_its_lease_and_resumed_is_refused";
    let mut writer = Writer::start(test, &dir.path().join("data"), Token::new(5));
    loop {
        writer.next("wrote").unwrap();
        writer.stop();
        match file.write(Token::new(6), &content(Token::new(6), 0)) {
            Ok(()) => break,
            // Stopped in the middle of a write, it has the lock: it goes on a little, and is stopped elsewhere.
            Err(FileError::Busy { .. }) => writer.signal(Signal::CONT),
            Err(error) => panic!("{error}"),
        }
    }
    writer.signal(Signal::CONT);
    assert_eq!(writer.next("stale"), Some(6));
    assert_eq!(parse(&file.read().unwrap().unwrap()), (Token::new(6), 0));
}

#[test]
fn l9_after_kill_9_the_content_is_whole_and_older_writers_are_refused() {
    if was_child() {
        return;
    }
    let dir = tempdir().unwrap();
    let file = fenced(&dir);
    let test = "file::l9_after_kill_9_the_content_is_whole_and_older_writers_are_refused";
    for round in 2..12 {
        let token = Token::new(round);
        let mut writer = Writer::start(test, &dir.path().join("data"), token);
        let mut acknowledged = 0;
        for _ in 0..round {
            acknowledged = writer.next("wrote").unwrap();
        }
        drop(writer);
        let (by, write) = parse(&file.read().unwrap().unwrap());
        assert_eq!(by, token);
        assert!(write >= acknowledged);
        assert_eq!(file.newest().unwrap(), Some(token));
        let older = Token::new(round - 1);
        assert!(matches!(file.write(older, b"late"), Err(FileError::Stale(stale)) if stale.newest == token));
    }
}

#[test]
fn l9_a_crash_after_the_token_and_before_the_content_leaves_the_older_holder_out() {
    let dir = tempdir().unwrap();
    let file = fenced(&dir);
    file.write(Token::new(5), b"five").unwrap();
    // What a write leaves that died between its two steps.
    fs::write(dir.path().join("data.fence"), "raceproof-fence 1 6\n").unwrap();
    fs::write(dir.path().join("data.next"), "si").unwrap();
    fs::write(dir.path().join("data.fence-next"), "raceproof-fe").unwrap();
    assert!(matches!(file.write(Token::new(5), b"late"), Err(FileError::Stale(_))));
    assert_eq!(file.read().unwrap().unwrap(), b"five");
    file.write(Token::new(7), b"seven").unwrap();
    assert_eq!(file.read().unwrap().unwrap(), b"seven");
}

#[test]
fn a_record_that_cannot_be_read_admits_nobody() {
    let dir = tempdir().unwrap();
    let file = fenced(&dir);
    file.write(Token::new(5), b"five").unwrap();
    for record in
        ["", "raceproof-fence 1 ", "raceproof-fence 1 6", "raceproof-fence 2 6\n", "6\n", "raceproof-fence 1 0\n"]
    {
        fs::write(dir.path().join("data.fence"), record).unwrap();
        let refused = file.write(Token::new(7), b"seven");
        assert!(matches!(refused, Err(FileError::Corrupt { .. })), "{record:?}");
    }
    fs::write(dir.path().join("data.fence"), [0xff, 0xfe]).unwrap();
    assert!(matches!(file.claim(Token::new(7)), Err(FileError::Corrupt { .. })));
    assert_eq!(file.read().unwrap().unwrap(), b"five");
}

#[test]
fn a_writer_in_the_middle_of_its_write_keeps_others_out_for_as_long_as_they_care_to_wait() {
    let dir = tempdir().unwrap();
    let file = fenced(&dir).lock_wait(Duration::from_millis(30));
    let lock = File::create(dir.path().join("data.fence-lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(file.write(Token::new(5), b"five"), Err(FileError::Busy { .. })));
    assert_eq!(file.read().unwrap(), None);
    drop(lock);
    file.write(Token::new(5), b"five").unwrap();
}

#[test]
fn l9_who_claims_before_it_reads_shuts_the_older_holder_out_without_writing() {
    let dir = tempdir().unwrap();
    let file = fenced(&dir);
    file.write(Token::new(5), b"five").unwrap();
    file.claim(Token::new(6)).unwrap();
    assert!(matches!(file.update(Token::new(5), |_| b"late".to_vec()), Err(FileError::Stale(_))));
    file.update(Token::new(6), |content| [content.unwrap(), b" and six".to_vec()].concat()).unwrap();
    assert_eq!(file.read().unwrap().unwrap(), b"five and six");
}

#[test]
fn every_name_of_a_file_has_the_same_fence_and_its_permissions_stay() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, b"before").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    symlink(&path, dir.path().join("link")).unwrap();
    FencedFile::new(dir.path().join("link")).unwrap().write(Token::new(6), b"six").unwrap();
    assert!(matches!(fenced(&dir).write(Token::new(5), b"late"), Err(FileError::Stale(_))));
    assert_eq!(fs::read(&path).unwrap(), b"six");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(dir.path().join("link").is_symlink());
}
