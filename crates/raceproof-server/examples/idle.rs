//! Measures what idle sessions cost: a server in a process of its own, many sessions that each hold one lock and do
//! nothing but renew their leases, and the server's memory and processor time as the kernel counts them.
//!
//! ```text
//! cargo run --release -p raceproof-server --example idle -- --sessions 20000 --ttl-ms 30000 --seconds 60
//! ```
//!
//! The clients look at their sockets every other millisecond only while the server is measured: waking a client that
//! sleeps is done in the server's `send`, and would be on the server's bill. With `--floor` the same is measured of a
//! bare loop that receives and sends as many bytes as a renewal and its answer have and does nothing else, gathered as
//! the server gathers them, and the program says how much of the server's time the system's own calls come to.
//!
//! With `--expire` all leases end together instead, and the program says for how long others waited meanwhile. On a
//! machine that is busy with other things, give `--stall-ms 1000`: a server that gets no processor for 50 ms renews
//! every lease, as it should, and nothing would expire.
//!
//! Each session has a WebSocket of its own; those beyond `--sockets` share a few HTTP connections, because both
//! processes may open no more files than `ulimit -n` says. Linux only: it reads `/proc`.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use raceproof_server::{Server, ServerConfig, StoreKind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

type Failure = Box<dyn Error + Send + Sync>;

type Stream = tokio::io::BufStream<TcpStream>;

/// How often clients look at their sockets while the server is measured.
const COARSE: Duration = Duration::from_millis(2);

static MEASURING: AtomicBool = AtomicBool::new(false);

struct Plan {
    sessions: usize,
    sockets: usize,
    ttl_ms: u64,
    seconds: u64,
    stall_ms: u64,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => {
            return serve(args.get(1).map_or("", String::as_str), args.get(2).map_or("50", String::as_str).parse()?);
        }
        Some("echo") => return echo(),
        _ => {}
    }
    let value = |name: &str, default: u64| -> Result<u64, Failure> {
        match args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)) {
            Some(text) => Ok(text.parse()?),
            None => Ok(default),
        }
    };
    let sessions = value("--sessions", 20_000)?;
    let plan = Plan {
        sessions: usize::try_from(sessions)?,
        sockets: usize::try_from(value("--sockets", sessions.min(19_900))?)?,
        ttl_ms: value("--ttl-ms", 10_000)?,
        seconds: value("--seconds", 30)?,
        stall_ms: value("--stall-ms", 50)?,
    };
    let expire = args.iter().any(|arg| arg == "--expire");
    let floor = args.iter().any(|arg| arg == "--floor");
    clients_runtime()?.block_on(async {
        if expire {
            return with_server("serve", &plan, async |addr, _| expire_together(&plan, addr).await).await;
        }
        let each = with_server("serve", &plan, async |addr, pid| stay_idle(&plan, addr, pid).await).await?;
        if floor {
            let least = with_server("echo", &plan, async |addr, pid| bounce(&plan, addr, pid).await).await?;
            println!("the server takes {:.2} times what its system calls take alone", each / least);
        }
        Ok(())
    })
}

/// One thread for all clients. While it measures, it looks at its sockets every few milliseconds only.
fn clients_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let coarsely = || {
        if MEASURING.load(Ordering::Relaxed) {
            std::thread::sleep(COARSE);
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(coarsely).build()
}

/// The server's process: prints its address, and ends with its standard input.
fn serve(dir: &str, stall_ms: u64) -> Result<(), Failure> {
    let mut config = ServerConfig::new(StoreKind::directory(dir));
    config.listen.set_port(0);
    config.hub.stall = Duration::from_millis(stall_ms);
    raceproof_server::runtime()?.block_on(async {
        let server = Server::bind(config).await?;
        println!("{}", server.local_addr());
        server
            .run(async {
                let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ended = tokio::task::spawn_blocking(read).await;
            })
            .await?;
        Ok(())
    })
}

/// What a renewal and its answer are to the kernel: so many bytes.
const RENEWAL: [u8; 43] = [b'r'; 43];
const RENEWED: [u8; 54] = [b'a'; 54];

/// The least that a server can do: a renewal is received, an answer sent. Ends with its standard input.
fn echo() -> Result<(), Failure> {
    use rustix::event::epoll::{CreateFlags, Event, EventData, EventFlags, add, create, wait};
    const LISTENER: EventData = EventData::new_u64(u64::MAX);
    const STDIN: EventData = EventData::new_u64(u64::MAX - 1);

    raise_descriptor_limit();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let epoll = create(CreateFlags::CLOEXEC)?;
    add(&epoll, &listener, LISTENER, EventFlags::IN)?;
    add(&epoll, std::io::stdin(), STDIN, EventFlags::IN)?;
    let mut streams: Vec<std::net::TcpStream> = Vec::new();
    let mut room = [0; 4_096];
    let mut events: Vec<Event> = Vec::with_capacity(1_024);
    loop {
        std::thread::sleep(Duration::from_millis(5));
        events.clear();
        wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for Event { flags, data } in events.iter().copied() {
            if data == STDIN {
                return Ok(());
            }
            if data == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    add(&epoll, &stream, EventData::new_u64(streams.len() as u64), flags)?;
                    streams.push(stream);
                }
            } else if flags.contains(EventFlags::IN)
                && let Some(stream) = streams.get_mut(usize::try_from(data.u64())?)
                && std::io::Read::read(stream, &mut room)? > 0
            {
                std::io::Write::write_all(stream, &RENEWED)?;
            }
        }
    }
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it is refused, opening too many will say so.
    let _refused = setrlimit(Resource::Nofile, limit);
}

/// Starts a server, does something with its address and process, and stops it.
async fn with_server<T>(
    kind: &str,
    plan: &Plan,
    what: impl AsyncFnOnce(Arc<str>, u32) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = std::env::temp_dir().join(format!("raceproof-idle-{}", std::process::id()));
    let mut server = Command::new(std::env::current_exe()?)
        .args([kind, &dir.to_string_lossy(), &plan.stall_ms.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut addr = String::new();
    BufReader::new(server.stdout.take().ok_or("the server has no output")?).read_line(&mut addr)?;
    let outcome = what(addr.trim().into(), server.id()).await;
    drop(server.stdin.take());
    server.wait()?;
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    outcome
}

/// Gives the microseconds that the server took for each renewal.
async fn stay_idle(plan: &Plan, addr: Arc<str>, pid: u32) -> Result<f64, Failure> {
    println!("before: {:.1} MiB", memory_mib(pid)?);

    let counts = Arc::new(Counts::default());
    let opening = Arc::new(Semaphore::new(64));
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    let sockets = plan.sockets.min(plan.sessions);
    for index in 0..sockets {
        let (addr, counts, opening, ttl_ms) = (addr.clone(), counts.clone(), opening.clone(), plan.ttl_ms);
        clients.spawn(async move { socket(&addr, index, ttl_ms, &counts, &opening).await });
    }
    let shared: Vec<usize> = (sockets..plan.sessions).collect();
    for part in shared.chunks(10) {
        let (addr, counts, part, ttl_ms) = (addr.clone(), counts.clone(), part.to_vec(), plan.ttl_ms);
        clients.spawn(async move { requests(&addr, &part, ttl_ms, &counts).await });
    }
    while counts.holding.load(Ordering::Relaxed) < plan.sessions as u64 {
        tokio::select! {
            ended = clients.join_next() => ended.ok_or("no clients")???,
            () = sleep(Duration::from_millis(50)) => {}
        }
    }
    println!("{} sessions, {sockets} over WebSocket, opened and locked in {:.1?}", plan.sessions, begun.elapsed());
    println!("loaded: {:.1} MiB", memory_mib(pid)?);
    let each = measure(plan, pid, &counts, &mut clients, "idle").await?;
    println!("idle:   {:.1} MiB", memory_mib(pid)?);
    Ok(each)
}

/// The same of the bare loop.
async fn bounce(plan: &Plan, addr: Arc<str>, pid: u32) -> Result<f64, Failure> {
    let counts = Arc::new(Counts::default());
    let mut clients = JoinSet::new();
    for index in 0..plan.sockets.min(plan.sessions) {
        let mut stream = TcpStream::connect(&*addr).await?;
        stream.set_nodelay(true)?;
        let (counts, mut renew) = (counts.clone(), renewals(index, plan.ttl_ms));
        clients.spawn(async move {
            let mut room = [0; 256];
            loop {
                tokio::select! {
                    _ = renew.tick() => stream.write_all(&RENEWAL).await?,
                    read = stream.read(&mut room) => {
                        if read? == 0 {
                            return Err("the bare loop closed a connection".into());
                        }
                        counts.renewals.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
    }
    measure(plan, pid, &counts, &mut clients, "floor").await
}

async fn measure(
    plan: &Plan,
    pid: u32,
    counts: &Counts,
    clients: &mut JoinSet<Result<(), Failure>>,
    what: &str,
) -> Result<f64, Failure> {
    MEASURING.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(plan.ttl_ms)).await;
    let (ticks, renewals, start) = (ticks(pid)?, counts.renewals.load(Ordering::Relaxed), Instant::now());
    sleep(Duration::from_secs(plan.seconds)).await;
    let elapsed = start.elapsed().as_secs_f64();
    let renewals = counts.renewals.load(Ordering::Relaxed) - renewals;
    // Linux counts in hundredths of a second, whatever its timer's frequency.
    let seconds = (self::ticks(pid)? - ticks) as f64 / 100.0;
    MEASURING.store(false, Ordering::Relaxed);
    if let Some(ended) = clients.try_join_next() {
        ended??;
        return Err("a client ended".into());
    }
    let each = 1e6 * seconds / renewals as f64;
    println!(
        "{what}: {:.2} % of one core, {:.0} renewals/s with a lease of {} ms ({each:.1} µs each)",
        100.0 * seconds / elapsed,
        renewals as f64 / elapsed,
        plan.ttl_ms,
    );
    Ok(each)
}

/// Opens sessions whose leases end at one moment, and takes and gives back a lock of another one all the while.
async fn expire_together(plan: &Plan, addr: Arc<str>) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let mut clients = JoinSet::new();
    let all: Vec<usize> = (0..plan.sessions).collect();
    for part in all.chunks(plan.sessions.div_ceil(64)) {
        let (addr, part) = (addr.clone(), part.to_vec());
        clients.spawn(async move {
            let mut stream = Stream::new(TcpStream::connect(&*addr).await?);
            for index in part {
                let ttl_ms = end.saturating_duration_since(Instant::now()).as_millis();
                open_and_lock(&mut stream, &addr, index, u64::try_from(ttl_ms)?).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(opened) = clients.join_next().await {
        opened??;
    }
    println!("{} sessions with a lock each; their leases end in {:.1?}", plan.sessions, end - Instant::now());

    let mut stream = Stream::new(TcpStream::connect(&*addr).await?);
    let other = post(&mut stream, &addr, "/v1/sessions", r#"{"name":"other","ttl_ms":600000}"#).await?;
    let other = other.split('"').nth(3).ok_or("no session")?.to_owned();
    for (what, from, to) in [("before", -3.0, -1.0), ("meanwhile", -0.1, 2.0)] {
        let at = |seconds: f64| match seconds < 0.0 {
            true => end - Duration::from_secs_f64(-seconds),
            false => end + Duration::from_secs_f64(seconds),
        };
        tokio::time::sleep_until(at(from)).await;
        let mut took = Vec::new();
        while Instant::now() < at(to) {
            let asked = Instant::now();
            let body = format!(r#"{{"session":"{other}"}}"#);
            let granted = post(&mut stream, &addr, "/v1/locks/private/acquire", &body).await?;
            took.push(asked.elapsed());
            let token = granted.split("\"token\":").nth(1).and_then(|rest| rest.split(',').next()).ok_or("no token")?;
            let body = format!(r#"{{"session":"{other}","token":{token}}}"#);
            post(&mut stream, &addr, "/v1/locks/private/release", &body).await?;
        }
        took.sort_unstable();
        let quantile = |part: usize| took.get(took.len() * part / 1001).copied().unwrap_or_default();
        println!(
            "{what}: {} grants, p50 {:.1?} p99 {:.1?} max {:.1?}",
            took.len(),
            quantile(500),
            quantile(990),
            quantile(1000)
        );
    }
    let figures = get(&mut stream, &addr, "/metrics").await?;
    for figure in figures.lines().filter(|line| line.starts_with("raceproof_s") && !line.contains("flush")) {
        println!("{figure}");
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    holding: AtomicU64,
    renewals: AtomicU64,
}

async fn socket(addr: &str, index: usize, ttl_ms: u64, counts: &Counts, opening: &Semaphore) -> Result<(), Failure> {
    let permit = opening.acquire().await?;
    let mut request = format!("ws://{addr}/v1/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "raceproof.v1".parse()?);
    let (mut socket, _) = tokio_tungstenite::client_async(request, TcpStream::connect(addr).await?).await?;
    let open = format!(r#"{{"open":{{"name":"idle-{index}","ttl_ms":{ttl_ms}}}}}"#);
    let acquire = format!(r#"{{"acquire":{{"names":["lock-{index}"]}}}}"#);
    let mut seq = 0_u64;
    for request in [open.as_str(), &acquire] {
        seq += 1;
        socket.send(Message::text(format!(r#"{{"seq":{seq},"request":{request}}}"#))).await?;
        answered(&mut socket).await?;
    }
    drop(permit);
    counts.holding.fetch_add(1, Ordering::Relaxed);
    let mut renew = renewals(index, ttl_ms);
    loop {
        tokio::select! {
            _ = renew.tick() => {
                seq += 1;
                socket.send(Message::text(format!(r#"{{"seq":{seq},"request":{{"keepalive":{{}}}}}}"#))).await?;
            }
            frame = socket.next() => match frame.ok_or("the server closed a connection")?? {
                Message::Text(text) if text.contains("\"renewed\"") => {
                    counts.renewals.fetch_add(1, Ordering::Relaxed);
                }
                Message::Text(text) => return Err(format!("unexpected: {text}").into()),
                _ => {}
            },
        }
    }
}

async fn answered(socket: &mut tokio_tungstenite::WebSocketStream<TcpStream>) -> Result<(), Failure> {
    loop {
        match socket.next().await.ok_or("the server closed a connection")?? {
            Message::Text(text) if text.contains("\"ok\"") => return Ok(()),
            Message::Text(text) => return Err(format!("refused: {text}").into()),
            _ => {}
        }
    }
}

/// Several sessions that share one HTTP connection.
async fn requests(addr: &str, indices: &[usize], ttl_ms: u64, counts: &Counts) -> Result<(), Failure> {
    let mut stream = Stream::new(TcpStream::connect(addr).await?);
    let mut keys = Vec::new();
    for index in indices {
        keys.push(open_and_lock(&mut stream, addr, *index, ttl_ms).await?);
        counts.holding.fetch_add(1, Ordering::Relaxed);
    }
    let mut renew = renewals(indices.first().copied().unwrap_or(0), ttl_ms);
    loop {
        renew.tick().await;
        for key in &keys {
            post(&mut stream, addr, &format!("/v1/sessions/{key}/keepalive"), "").await?;
            counts.renewals.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn open_and_lock(stream: &mut Stream, addr: &str, index: usize, ttl_ms: u64) -> Result<String, Failure> {
    let body = format!(r#"{{"name":"idle-{index}","ttl_ms":{ttl_ms}}}"#);
    let opened = post(stream, addr, "/v1/sessions", &body).await?;
    let key = opened.split('"').nth(3).ok_or("no session")?.to_owned();
    let body = format!(r#"{{"session":"{key}"}}"#);
    post(stream, addr, &format!("/v1/locks/lock-{index}/acquire"), &body).await?;
    Ok(key)
}

async fn get(stream: &mut Stream, addr: &str, path: &str) -> Result<String, Failure> {
    call(stream, addr, "GET", path, "").await
}

async fn post(stream: &mut Stream, addr: &str, path: &str, body: &str) -> Result<String, Failure> {
    call(stream, addr, "POST", path, body).await
}

async fn call(stream: &mut Stream, addr: &str, method: &str, path: &str, body: &str) -> Result<String, Failure> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n");
    write!(request, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.split(' ').nth(1).is_none_or(|status| !status.starts_with('2')) {
        return Err(format!("refused: {line}").into());
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8(body)?)
}

/// When half of the lease is over (a third of a short one), as the library does, spread over all clients.
fn renewals(index: usize, ttl_ms: u64) -> tokio::time::Interval {
    let period = Duration::from_millis(if ttl_ms < 6_000 { ttl_ms / 3 } else { ttl_ms / 2 });
    let spread = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let first = period.mul_f64(spread as f64 / f64::from(u32::MAX));
    let mut renew = interval_at(Instant::now() + first, period);
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    renew
}

fn memory_mib(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn ticks(pid: u32) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let field = |at: usize| fields.get(at).ok_or("a short stat")?.parse::<u64>().map_err(Failure::from);
    Ok(field(11)? + field(12)?)
}
