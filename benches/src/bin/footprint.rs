//! What each runtime costs a program before it does anything: the crates in its tree, the time to build them, and the size
//! of the smallest echo server.
//!
//! ```sh
//! cargo run -p benches --bin footprint
//! ```
//!
//! Each server of `benches/echo` becomes a package of its own and is built from nothing, with the versions of the
//! workspace's lock file, in the release profile without symbols. It must echo before its figures count. The table goes to
//! standard output and, for `BENCHMARKS.md`, to `benches/footprint.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use benches::machine;
use benches::measure::children_cpu;

/// The name, the source, and what the manifest says it needs.
const SERVERS: &[(&str, &str, &str)] = &[
    (
        "yieldpoint",
        include_str!("../../echo/yieldpoint.rs"),
        "yieldpoint = { path = \"{root}\" }",
    ),
    (
        "raw",
        include_str!("../../echo/raw.rs"),
        "mio = { version = \"1\", features = [\"os-poll\", \"net\"] }",
    ),
    (
        "tokio",
        include_str!("../../echo/tokio.rs"),
        "tokio = { version = \"1\", features = [\"rt\", \"net\", \"io-util\"] }",
    ),
    (
        "smol",
        include_str!("../../echo/smol.rs"),
        "async-executor = \"1\"\nasync-io = \"2\"\nasync-net = \"2\"\nfutures-lite = \"2\"",
    ),
    (
        "monoio",
        include_str!("../../echo/monoio.rs"),
        "monoio = { version = \"0.2\", default-features = false, features = [\"iouring\"] }",
    ),
    (
        "compio",
        include_str!("../../echo/compio.rs"),
        "compio = { version = \"0.18\", default-features = false, features = [\"runtime\", \"net\", \"io-uring\"] }",
    ),
    (
        "glommio",
        include_str!("../../echo/glommio.rs"),
        "glommio = \"0.9\"\nfutures-lite = \"2\"",
    ),
];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let scratch = env::temp_dir().join(format!("footprint-{}", std::process::id()));
    let mut table = format!(
        "On {}; built from nothing in the release profile, without symbols, with the features that the server needs. \
         CPU time is that of all processes of the build.\n\n\
         | echo server on | crates in its tree | build time, s | its CPU time, s | size of the program, KiB |\n\
         |---|---:|---:|---:|---:|\n",
        machine::description()
    );
    for (name, source, needs) in SERVERS {
        eprintln!("building the echo server on {name}");
        match server(&root, &scratch.join(name), source, needs) {
            Ok(Footprint {
                crates,
                built,
                cpu,
                bytes,
            }) => {
                let (built, cpu) = (built.as_secs_f64(), cpu.as_secs_f64());
                writeln!(
                    table,
                    "| {name} | {crates} | {built:.1} | {cpu:.1} | {} |",
                    bytes / 1024
                )
                .expect("a text takes more");
            }
            Err(error) => {
                writeln!(table, "| {name} | – | – | – | – ({error}) |").expect("a text takes more");
            }
        }
    }
    fs::remove_dir_all(&scratch)?;
    print!("{table}");
    fs::write(root.join("benches/footprint.md"), table)
}

/// What a server costs.
struct Footprint {
    /// How many crates it needs, itself not counted.
    crates: usize,
    /// How long the build took, and the CPU time of its processes.
    built: Duration,
    cpu: Duration,
    /// The size of the program.
    bytes: u64,
}

/// Builds one server in a directory of its own.
fn server(root: &Path, place: &Path, source: &str, needs: &str) -> io::Result<Footprint> {
    fs::create_dir_all(place.join("src"))?;
    fs::write(place.join("src/main.rs"), source)?;
    fs::write(
        place.join("Cargo.toml"),
        format!(
            "[package]\nname = \"echo-server\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{}\n\n\
             [profile.release]\nstrip = true\n\n[workspace]\n",
            needs.replace("{root}", &root.display().to_string())
        ),
    )?;
    fs::copy(root.join("Cargo.lock"), place.join("Cargo.lock"))?;
    let cargo = |args: &[&str]| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(args)
            .current_dir(place)
            .env("CARGO_TARGET_DIR", place.join("target"))
            .stderr(Stdio::null());
        cargo
    };
    // Fetching is not building.
    succeed(
        cargo(&["fetch"]).stdout(Stdio::null()).status()?.success(),
        "cargo fetch",
    )?;
    let tree = cargo(&[
        "tree",
        "-e",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])
    .output()?;
    succeed(tree.status.success(), "cargo tree")?;
    let tree = String::from_utf8_lossy(&tree.stdout);
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let (started, before) = (Instant::now(), children_cpu());
    succeed(
        cargo(&["build", "--release"])
            .stdout(Stdio::null())
            .status()?
            .success(),
        "cargo build",
    )?;
    let (built, cpu) = (started.elapsed(), children_cpu().saturating_sub(before));
    let program = place.join("target/release/echo-server");
    echoes(&program)?;
    Ok(Footprint {
        crates: crates.len() - 1,
        built,
        cpu,
        bytes: fs::metadata(&program)?.len(),
    })
}

fn succeed(success: bool, what: &str) -> io::Result<()> {
    if success {
        Ok(())
    } else {
        Err(io::Error::other(format!("{what} failed")))
    }
}

/// Whether the server sends back what it is sent.
fn echoes(program: &PathBuf) -> io::Result<()> {
    let mut server = Command::new(program).stdout(Stdio::piped()).spawn()?;
    let echoed = (|| {
        let mut address = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut address)?;
        let mut stream = TcpStream::connect(address.trim())?;
        stream.write_all(b"hello")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        succeed(&reply == b"hello", "the echo")
    })();
    server.kill()?;
    server.wait()?;
    echoed
}
