//! Redis and PostgreSQL for the tests: data in the run's directory, reachable by a socket in it alone, stopped with
//! the run.
//!
//! There is no port to find free or to lose to somebody else, and nothing listens on the network.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::components::{component, program_exists};
use crate::run::{self, Run};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A variable that tells the tests where a server is.
pub(crate) type Address = (&'static str, String);

/// Starts what is installed and returns where it is.
pub(crate) fn start(run: &Run) -> Result<Vec<Address>> {
    let mut addresses = Vec::new();
    if let Some(program) = component("Redis").and_then(|redis| redis.find()) {
        addresses.push(redis(run, &program).context("Redis could not be started")?);
    }
    if let Some(program) = component("PostgreSQL").and_then(|postgres| postgres.find()) {
        addresses.push(postgres(run, &program).context("PostgreSQL could not be started")?);
    }
    for (name, address) in &addresses {
        run.step(&format!("{name}={address}"));
    }
    Ok(addresses)
}

fn redis(run: &Run, program: &Path) -> Result<Address> {
    let dir = directory(run, "redis")?;
    let socket = dir.join("redis.sock");
    let mut command = dying_with_us(program, None);
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--unixsocket"]);
    command.arg(&socket).arg("--dir").arg(&dir);
    launch(run, command, &dir, || {
        let Ok(mut stream) = UnixStream::connect(&socket) else { return false };
        let mut answer = [0; 5];
        let asked = stream.set_read_timeout(Some(START)).and_then(|()| stream.write_all(b"PING\r\n"));
        asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && &answer == b"+PONG"
    })?;
    Ok(("RACEPROOF_TEST_REDIS", format!("redis+unix://{}", socket.display())))
}

fn postgres(run: &Run, program: &Path) -> Result<Address> {
    let dir = directory(run, "postgres")?;
    let data = dir.join("data");
    let user = postgres_user()?;
    if let Some(user) = &user {
        chown(&dir, Some(user.uid), Some(user.gid))?;
    }
    // Its other programs are beside it, but not beside a link to it.
    let program = &program.canonicalize()?;
    let tool = |name: &str| program.with_file_name(name);
    let mut initdb = dying_with_us(&tool("initdb"), user.as_ref());
    initdb.args(["--auth", "trust", "--username", "raceproof", "--encoding", "UTF8", "--no-locale", "--no-sync"]);
    Run::output(initdb.arg("--pgdata").arg(&data).current_dir(&dir))?;

    let mut command = dying_with_us(program, user.as_ref());
    command.arg("-D").arg(&data).arg("-k").arg(&dir);
    // The tests are about what is refused, not about what a power cut leaves.
    for setting in ["listen_addresses=", "fsync=off", "max_connections=50", "shared_buffers=16MB"] {
        command.args(["-c", setting]);
    }
    launch(run, command, &dir, || {
        let mut ready = Command::new(tool("pg_isready"));
        ready.arg("--quiet").arg("--host").arg(&dir).status().is_ok_and(|status| status.success())
    })?;
    let address = format!("host={} user=raceproof dbname=postgres", dir.display());
    Ok(("RACEPROOF_TEST_POSTGRES", address))
}

/// A user that PostgreSQL runs as where we are root, which it refuses.
struct User {
    uid: u32,
    gid: u32,
}

fn postgres_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = |flag: &str, name: &str| -> Result<u32> {
        Ok(Run::output(Command::new("id").args([flag, name]))?.trim_end().parse()?)
    };
    let name = if id("-u", "postgres").is_ok() { "postgres" } else { "nobody" };
    Ok(Some(User { uid: id("-u", name)?, gid: id("-g", name)? }))
}

/// A command that the kernel stops when this program dies, however it dies, where `setpriv` is there to ask for that.
fn dying_with_us(program: &Path, user: Option<&User>) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = if program_exists("setpriv") {
        let mut setpriv = Command::new("setpriv");
        if let Some(User { uid, gid }) = user {
            setpriv.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        }
        setpriv.arg("--pdeathsig=INT").arg("--").arg(program);
        setpriv
    } else {
        let mut command = Command::new(program);
        if let Some(User { uid, gid }) = user {
            command.uid(*uid).gid(*gid);
        }
        command
    };
    // A Ctrl-C is for the tests first; the servers are stopped after them.
    command.process_group(0).stdin(Stdio::null());
    command
}

fn directory(run: &Run, name: &str) -> Result<PathBuf> {
    let dir = run.scratch().join(name);
    fs::create_dir(&dir).with_context(|| format!("{} could not be made", dir.display()))?;
    Ok(dir)
}

/// Starts a server and waits until it answers.
fn launch(run: &Run, mut command: Command, dir: &Path, is_ready: impl Fn() -> bool) -> Result<()> {
    let log = dir.join("log");
    let file = File::create(&log)?;
    let mut server = command.current_dir(dir).stdout(file.try_clone()?).stderr(file).spawn()?;
    let until = Instant::now() + START;
    let failure = loop {
        if is_ready() {
            run.keep(server);
            return Ok(());
        }
        if let Some(status) = server.try_wait()? {
            break format!("it ended ({status})");
        }
        if Instant::now() > until {
            break format!("it did not answer within {} s", START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    run::stop(server);
    bail!("{failure}; it said:\n{}", fs::read_to_string(&log).unwrap_or_default())
}
