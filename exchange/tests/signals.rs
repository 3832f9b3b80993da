//! Signals, to the process itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::yield_now,
};

/// Ended with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

/// The first line of the answer; `None` where nobody takes the call.
fn health(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[test]
fn a_hang_up_is_said_and_changes_nothing_and_a_termination_ends_it() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(env!("CARGO_BIN_EXE_exchange"))
        .args(["--listen", &format!("127.0.0.1:{port}"), "--ledger-endpoints", "http://127.0.0.1:1"])
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    while health(port).is_none() {
        assert!(process.0.try_wait().unwrap().is_none(), "it ended");
        yield_now();
    }
    let mut said = process.0.stderr.take().unwrap();
    process.signal("HUP");
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("SIGHUP changes nothing") {
        let mut bytes = [0; 1_024];
        let read = said.read(&mut bytes).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..read]);
    }
    assert_eq!(health(port).as_deref(), Some("HTTP/1.1 503 Service Unavailable"));
    process.signal("TERM");
    assert!(process.0.wait().unwrap().success());
}
