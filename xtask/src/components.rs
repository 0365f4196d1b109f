//! What the tests need beside Rust, and getting it from the system's package manager.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::run::Run;

/// The target that raceproof-core is built for to prove that it needs no operating system.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Something the tests use that Cargo does not bring.
#[derive(Debug)]
pub(crate) struct Component {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// A program, or another file, that is there when it is installed.
    program: &'static str,
    /// Directories to look in after `PATH`; `*` stands for one component, of which the greatest is taken.
    places: &'static [&'static str],
    /// Which tests do not run without it.
    needed_by: &'static str,
}

/// Everything that a test in the tree uses. A test that needs more adds a line.
pub(crate) const COMPONENTS: &[Component] = &[
    Component {
        name: "Redis",
        package: "redis-server",
        program: "redis-server",
        places: &[],
        needed_by: "the Redis fencing sink",
    },
    Component {
        name: "PostgreSQL",
        package: "postgresql",
        program: "postgres",
        places: &["/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin"],
        needed_by: "the PostgreSQL fencing sink",
    },
    Component { name: "curl", package: "curl", program: "curl", places: &[], needed_by: "the README's call over HTTP" },
    Component {
        name: "libfaketime",
        package: "libfaketime",
        program: "libfaketime.so.1",
        places: &["/usr/lib/*/faketime"],
        needed_by: "a wall clock that jumps",
    },
];

impl Component {
    /// Where its file is.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|dir| dir.join(self.program));
        let elsewhere = self.places.iter().flat_map(|place| matching(place)).map(|dir| dir.join(self.program));
        on_path.chain(elsewhere).find(|program| program.is_file())
    }
}

/// The component of that name.
pub(crate) fn component(name: &str) -> Option<&'static Component> {
    COMPONENTS.iter().find(|component| component.name == name)
}

/// The directories that a pattern with at most one `*` stands for, the greatest version first.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*/") else { return vec![PathBuf::from(pattern)] };
    let Ok(entries) = Path::new(before).read_dir() else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.to_string_lossy().parse::<u32>().unwrap_or(0)));
    names.into_iter().map(|name| Path::new(before).join(name).join(after)).collect()
}

/// Installs what is missing. Returns what is missing still, which in CI is an error.
pub(crate) fn install(run: &Run) -> Result<Vec<&'static Component>> {
    let missing = || COMPONENTS.iter().filter(|component| component.find().is_none()).collect::<Vec<_>>();
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    if let Err(error) = apt_install(run, &wanted) {
        run.step(&format!("could not install by the package manager: {error:#}"));
    }
    let missing = missing();
    for Component { name, package, needed_by, .. } in &missing {
        run.step(&format!("{name} is missing (Debian's package {package}): {needed_by} cannot be tested"));
    }
    if run.in_ci() && !missing.is_empty() {
        bail!("{} components are missing, and in CI nothing is skipped", missing.len());
    }
    Ok(missing)
}

fn apt_install(run: &Run, wanted: &[&Component]) -> Result<()> {
    if !program_exists("apt-get") {
        bail!("there is no apt-get here");
    }
    let packages: Vec<_> = wanted.iter().map(|component| component.package).collect();
    run.step(&format!("installing {}", packages.join(" ")));
    apt_get(run, &["update"])?;
    apt_get(run, &["install", "--yes", "--no-install-recommends"].into_iter().chain(packages).collect::<Vec<_>>())
}

fn apt_get(run: &Run, args: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else if program_exists("sudo") {
        // Without a password or not at all: nobody may be there to type one.
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "apt-get"]);
        sudo
    } else {
        bail!("installing needs root, and there is no sudo");
    };
    command.arg("-qq").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    // Its progress is no part of our output.
    command.stdout(std::io::stderr());
    let status = run.wait(command.spawn()?)?;
    if !status.success() {
        bail!("apt-get {} failed ({status})", args.first().unwrap_or(&""));
    }
    Ok(())
}

/// Adds the WebAssembly target to the toolchain. Missing afterwards, it is an error in CI.
pub(crate) fn wasm_target(run: &Run) -> Result<()> {
    if wasm_target_installed() {
        return Ok(());
    }
    run.step(&format!("adding the target {WASM_TARGET}"));
    let added = Run::output(Command::new("rustup").args(["target", "add", WASM_TARGET]));
    if wasm_target_installed() {
        return Ok(());
    }
    let why = added.err().map(|error| format!(": {error:#}")).unwrap_or_default();
    if run.in_ci() {
        bail!("the target {WASM_TARGET} could not be added{why}");
    }
    run.step(&format!("the target {WASM_TARGET} could not be added{why}"));
    Ok(())
}

fn wasm_target_installed() -> bool {
    let libdir = Run::output(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM_TARGET]));
    libdir.is_ok_and(|dir| Path::new(dir.trim_end()).is_dir())
}

/// Whether a program is on `PATH`.
pub(crate) fn program_exists(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
