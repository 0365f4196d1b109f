//! `raceproof serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use raceproof_core::guard::code;
use raceproof_server::{RunError, Server, ServerConfig, StartError, StoreKind, Tokens};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::list::envelope;
use super::print;
use super::store::with_advice;
use crate::args::{LogFormat, Serve};
use crate::config::{Settings, address, state_dir};
use crate::failure::Failure;
use crate::say;

/// What is logged, in the terms of `tracing`: `debug`, `raceproof_server=trace` …
const LOG_VARIABLE: &str = "RACEPROOF_LOG";

pub(super) fn serve(args: Serve, settings: Settings) -> Result<u8, Failure> {
    let settings = with_flags(&args, settings);
    let format = args.log_format.unwrap_or_else(|| settings.choice("serve.log-format"));
    log_to_stderr(format);
    let data = data_dir(&settings)?;
    let config = server_config(&args, &settings, &data)?;
    let runtime = raceproof_server::runtime().map_err(|error| Failure::system("the runtime cannot start", error))?;
    runtime.block_on(run(config, &data, format))
}

fn with_flags(args: &Serve, settings: Settings) -> Settings {
    settings
        .flag("serve.listen", args.listen.as_deref())
        .flag("serve.data", args.data.as_deref())
        .flag("serve.auth-token-file", args.auth_token_file.as_deref())
        .flags("serve.allow-origin", &args.allow_origin)
        .flags("serve.allow-host", &args.allow_host)
        .flag("serve.insecure", args.insecure.then_some("true"))
}

fn data_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    let dir = settings.text("serve.data").map(PathBuf::from).or_else(state_dir);
    dir.ok_or_else(|| {
        Failure::new("config", code::CONFIG, "no directory for the store: give --data, or set HOME or XDG_STATE_HOME")
    })
}

fn server_config(args: &Serve, settings: &Settings, data: &Path) -> Result<ServerConfig, Failure> {
    let kind = match args.store {
        Some(kind) => Some(kind.into()),
        // Checked when it was loaded.
        None => settings.text("serve.store").and_then(|text| text.parse().ok()),
    };
    let mut config = ServerConfig::new(StoreKind::Directory { path: data.to_owned(), kind });
    let listen = settings.text("serve.listen").unwrap_or_default();
    config.listen = address(listen)
        .map_err(|detail| Failure::new("usage", code::USAGE, format!("--listen {listen:?}: {detail}")))?;
    if let Some(file) = settings.text("serve.auth-token-file") {
        let tokens = Tokens::from_file(Path::new(file));
        config.auth = Some(tokens.map_err(|error| Failure::new("config", code::CONFIG, error.to_string()))?);
    }
    config.allowed_origins = settings.list("serve.allow-origin");
    config.allowed_hosts = settings.list("serve.allow-host");
    config.insecure = settings.is("serve.insecure");
    Ok(config)
}

async fn run(config: ServerConfig, data: &Path, format: LogFormat) -> Result<u8, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::system("signals cannot be listened for", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    let server = Server::bind(config).await.map_err(|error| not_started(&error))?;
    announce(server.local_addr(), data, format)?;
    let shutdown = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => {
                    tracing::warn!("settings are read at the start: restart to apply them; holders keep their locks through it");
                }
            }
        }
        tracing::info!("stopping; again to stop at once");
        // The server takes a crash as well as a stop: its clients see the same either way.
        tokio::spawn(async move {
            let by = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            std::process::exit(i32::from(code::SIGNAL_BASE) + by.as_raw_value());
        });
    };
    server.run(shutdown).await.map_err(|error| ended(&error))?;
    tracing::info!("stopped");
    Ok(0)
}

/// Tells where the server is: on stdout, so that a script can read the port it got.
fn announce(address: SocketAddr, data: &Path, format: LogFormat) -> Result<(), Failure> {
    let url = format!("http://{address}");
    let said = match format {
        LogFormat::Text => {
            format!("listening on {url}\n  data       {}\n  dashboard  {url}/\n", data.display())
        }
        LogFormat::Json => {
            let fields = json!({"url": url, "data": data.display().to_string(), "dashboard": format!("{url}/")});
            format!("{}\n", envelope(1, "listening", &fields))
        }
    };
    print(&said)?;
    Ok(())
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let logging =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(say::color());
    match format {
        LogFormat::Text => logging.init(),
        LogFormat::Json => logging.json().init(),
    }
}

fn not_started(error: &StartError) -> Failure {
    let (slug, exit) = match error {
        StartError::OpenToAll { .. } => ("open-to-all", code::CONFIG),
        StartError::Bind { .. } => ("address", code::FAILED),
        StartError::Open(raceproof::store::OpenError::InUse { .. }) => ("store-in-use", code::NOT_ACQUIRED),
        StartError::Io(_) => ("system", code::LOST),
        _ => ("store", code::FAILED),
    };
    Failure::new(slug, exit, with_advice(error, error.advice()))
}

fn ended(error: &RunError) -> Failure {
    let slug = if matches!(error, RunError::StoreFailed { .. }) { "store-failed" } else { "internal" };
    Failure::new(slug, code::LOST, error.to_string())
}
