//! Where a run runs: which core is for the loop, which for everything around it, and the machine in general words.
//!
//! 1. The loop of a one-threaded side has a core of its own, the load generator and other threads have another: so a run
//!    measures neither migrations nor a scheduler that puts both on one core.
//! 2. On a machine with one core nothing is pinned.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores this process may use, as they were before anything was pinned.
static CORES: OnceLock<Vec<usize>> = OnceLock::new();

fn cores() -> &'static [usize] {
    CORES.get_or_init(|| {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect()
    })
}

/// Pins this thread, and those it starts, to the core of the loop.
pub fn pin_loop() {
    if let [first, _, ..] = cores() {
        pin(*first);
    }
}

/// Pins this thread to the core that is not the loop's.
pub fn pin_other() {
    if let Some(core) = other_core() {
        pin(core);
    }
}

/// The core of the load generator, if there is more than one.
#[must_use]
pub fn other_core() -> Option<usize> {
    cores().get(1).copied()
}

/// Pins this thread to a core; a system that refuses leaves it where it is.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    let _ = sched_setaffinity(None, &set);
}

/// Allows as many open files as the system lets us: ten thousand connections need as many.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

/// With what the sides were built: the compiler, the profile, and the versions of the peers in the lock file.
#[must_use]
pub fn built() -> String {
    let compiler = Command::new("rustc").arg("--version").output();
    let compiler = compiler.map_or_else(|_| "rustc".into(), |output| output.stdout);
    let compiler = String::from_utf8_lossy(&compiler);
    let compiler: Vec<&str> = compiler.split_whitespace().take(2).collect();
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let version = |name: &&str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let (_, rest) = lock.split_once(&entry)?;
        let (version, _) = rest.split_once('"')?;
        Some(format!("{name} {version}"))
    };
    let peers = [
        "tokio",
        "async-executor",
        "async-io",
        "monoio",
        "compio",
        "glommio",
        "mio",
    ];
    let peers: Vec<String> = peers.iter().filter_map(version).collect();
    format!(
        "{}, fat LTO, one codegen unit, the system's allocator; {}",
        compiler.join(" "),
        peers.join(", ")
    )
}

/// The machine in general words: nothing that names it.
#[must_use]
pub fn description() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
    let cpus = cores().len();
    let virtualized =
        fs::read_to_string("/proc/cpuinfo").is_ok_and(|info| info.contains("hypervisor"));
    format!(
        "{cpus} {} of {} machine, {}, Linux {}",
        if cpus == 1 { "core" } else { "cores" },
        if virtualized { "a virtual" } else { "a" },
        std::env::consts::ARCH,
        release.join("."),
    )
}
