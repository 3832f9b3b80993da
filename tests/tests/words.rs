//! What a stranger reads: `cluster.sh` says in words what it misses, logs in files have no colours, and a demo whose
//! flow does not flow fails.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use quorate_tests::harness::binary;

/// `cluster.sh` with the binaries of this build, in a directory of its own.
fn cluster_sh(dir: &Path, base: u16, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster.sh");
    let bin: PathBuf = binary("raft-node").unwrap().parent().unwrap().to_owned();
    Command::new("bash")
        .arg(script)
        .args(["--base-port", &base.to_string(), "--run-dir", dir.to_str().unwrap()])
        .args(args)
        .env("QUORATE_BIN", bin)
        .output()
        .unwrap()
}

#[test]
fn cluster_sh_says_what_it_misses() {
    let dir = tempfile::tempdir().unwrap();
    let table: [(&[&str], &str); 18] = [
        (&["kill"], "kill needs a node's number or a process's name"),
        (&["kill", "1"], "node-1 does not run"),
        (&["pause"], "pause needs a node's number or a process's name"),
        (&["resume", "exchange"], "exchange does not run"),
        (&["restart"], "restart needs a node's number or a process's name"),
        (&["restart", "1"], "node-1 was never started"),
        (&["partition"], "partition needs a node's number"),
        (&["partition", "4"], "must be a node's number, 1 to 3"),
        (&["partition", "1"], "node-1 does not run"),
        (&["heal"], "no node runs"),
        (&["kill-leader"], "no leader is known"),
        (&["logs"], "no log"),
        (&["logs", "exchange"], "no log of exchange"),
        (&["demo", "--seconds"], "--seconds needs a value"),
        (&["demo", "--seconds", "many"], "must be a number"),
        (&["demo", "--capture", "/nonexistent/file"], "no file that can be read"),
        (&["--base-port", "high", "up"], "must be a number from 1 to 65335"),
        (&["--run-dir"], "--run-dir needs a value"),
    ];
    for (args, wanted) in table {
        let output = cluster_sh(dir.path(), 9_000, args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{args:?} succeeded");
        // One line, by the script, and none by the shell.
        assert!(said.starts_with("cluster.sh: ") && said.lines().count() == 1, "{args:?}: {said}");
        assert!(said.contains(wanted) && !said.contains(": line "), "{args:?}: {said}");
    }
    let unknown = cluster_sh(dir.path(), 9_000, &["bogus"]);
    assert!(String::from_utf8(unknown.stderr).unwrap().starts_with("usage: "));
}

#[test]
fn a_comparison_says_what_it_misses() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("long/compare-commands.sh");
    let bin: PathBuf = binary("raft-node").unwrap().parent().unwrap().to_owned();
    let said = |args: &[&str]| {
        let output = Command::new("bash").arg(&script).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let bin = bin.to_str().unwrap();
    assert!(said(&[]).starts_with("usage: compare-commands.sh OLD NEW"));
    assert!(said(&[bin, "/nonexistent"]).contains("/nonexistent/raft-node is not there"));
    assert!(said(&[bin, bin, "many"]).contains("many: ROUNDS"));
}

#[test]
fn a_demo_removes_nothing_that_is_not_of_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "kept").unwrap();
    let output = cluster_sh(dir.path(), 9_000, &["demo"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("not of a cluster: name another"), "{said}");
    assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "kept");
}

#[test]
fn what_goes_to_a_file_has_no_colours_and_tells_each_cause_once() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing").join("file");
    let missing = missing.to_str().unwrap();
    let table: [(&str, &[&str]); 4] = [
        ("raft-node", &["--config", missing]),
        ("exchange", &["--config", missing]),
        (
            "market-maker",
            &["live", "--name", "a", "--ledger-endpoints", "http://127.0.0.1:1", "--belief-journal", missing],
        ),
        ("order-publisher", &["replay", "--capture", missing, "--symbol", "BTCUSDT"]),
    ];
    for (program, args) in table {
        let output = Command::new(binary(program).unwrap()).args(args).env_remove("NO_COLOR").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("ERROR"), "{program}: {said}");
        assert!(!said.contains('\u{1b}'), "{program}: {said:?}");
        assert_eq!(said.matches("No such file or directory").count(), 1, "{program}: {said}");
    }
}

/// A base port from which on a cluster's ports are free.
fn base_port() -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let ports = |base: u16| [1, 2, 3, 101, 102, 103, 200].map(|more| base + more);
    // Below those that the system gives to outgoing connections.
    let from = 10_000 + u16::try_from(std::process::id() % 90).unwrap() * 220;
    (0..8).map(|n| from + n * 210).find(|base| ports(*base).into_iter().all(free)).unwrap()
}

#[test]
fn a_demo_fails_where_its_publisher_has_nothing_to_send() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("capture");
    let line =
        r#"1700000000000000000 {"stream":"ethusdt@trade","data":{"s":"ETHUSDT","t":1,"p":"1","q":"1","T":1,"m":true}}"#;
    std::fs::write(&capture, line).unwrap();
    let run = dir.path().join("run");
    let output = cluster_sh(&run, base_port(), &["demo", "--capture", capture.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("publisher 'recorded' ended with exit code 1"), "{said}");
    assert!(said.contains("1 lines of trade of ETHUSDT"), "{said}");
    // What it had started has ended.
    let is_pid =
        |file: std::io::Result<std::fs::DirEntry>| file.unwrap().path().extension().is_some_and(|kind| kind == "pid");
    assert_eq!(std::fs::read_dir(&run).unwrap().map(is_pid).filter(|is| *is).count(), 0);
}
