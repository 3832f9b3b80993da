//! The system's tools: what there is of them, and how they are run.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};

/// Set to `1`, this environment variable turns every skipped scenario into a failure.
const REQUIRE: &str = "QUORATE_REQUIRE_TOOLS";

/// Says that `what` was skipped, and why: past the test harness, which keeps to itself what a test that passes prints.
///
/// # Errors
/// Where the environment says that nothing may be skipped.
pub fn skipped(what: &str, why: &str) -> Result<()> {
    ensure!(std::env::var_os(REQUIRE).is_none_or(|value| value != "1"), "{what} cannot be shown here: {why}");
    Ok(writeln!(std::io::stderr(), "SKIPPED {what}: {why}")?)
}

/// Why network namespaces cannot be had here, or `None` where they can. Tried once for the whole process, whose tests ask
/// at the same time.
#[must_use]
pub fn can_have_namespaces() -> Option<String> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    TRIED.get_or_init(|| try_namespaces().err().map(|error| format!("{error:#}"))).clone()
}

/// What the scenarios need of the kernel and of the tools, tried on interfaces and tables that go away at once.
fn try_namespaces() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "network namespaces need root");
    run("nft", &["--version"], "")?;
    let probe = format!("quorate-probe-{}", std::process::id());
    // What a process of this number left behind when it was killed; it is gone, for the number is ours now.
    let _ = run("ip", &["netns", "delete", &probe], "");
    run("ip", &["netns", "add", &probe], "")?;
    let links = "link add bridge0 type bridge\nlink add port0 type veth peer name eth0\n";
    let rules = "table inet probe { chain fault { type filter hook input priority 0; policy accept; \
                 ip saddr 198.18.0.1 numgen random mod 100 < 10 counter drop; }; }\n";
    let tried = run("ip", &["-n", &probe, "-batch", "-"], links)
        .and_then(|_| in_namespace(&probe, "nft", &["-f", "-"], rules))
        .and_then(|_| in_namespace(&probe, "nft", &["-j", "list", "chain", "inet", "probe", "fault"], ""));
    run("ip", &["netns", "delete", &probe], "")?;
    tried.map(drop)
}

/// Why a small filesystem cannot be mounted here, or `None` where it can. Tried once for the whole process: root without
/// the capability to mount, as in many containers, cannot.
#[must_use]
pub fn can_have_small_disks() -> Option<String> {
    static TRIED: OnceLock<Option<String>> = OnceLock::new();
    TRIED.get_or_init(|| try_small_disks().err().map(|error| format!("{error:#}"))).clone()
}

fn try_small_disks() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "mounting a small filesystem needs root");
    let probe = tempfile::Builder::new().prefix("quorate-probe-").tempdir()?;
    let at = probe.path().to_str().context("a path of text")?;
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "quorate-probe", at], "")?;
    run("umount", &[at], "").map(drop)
}

/// Runs a tool to its end; what it printed.
pub(super) fn run(program: &str, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be run: is it installed?"))?;
    child.stdin.take().context("its input is a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} {}: {} {}", args.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a tool inside a network namespace.
pub(super) fn in_namespace(netns: &str, program: &str, args: &[&str], input: &str) -> Result<String> {
    let all: Vec<&str> = ["netns", "exec", netns, program].into_iter().chain(args.iter().copied()).collect();
    run("ip", &all, input)
}
