//! What was set up outside of this process, and is taken down with it.
//!
//! Invariant: a shell waits for the end of a pipe whose other end is here, and runs what it was told then. So what was
//! promised is done also after kill -9 or ctrl-c; nothing in this process need run for that.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};

/// Commands that are run when this is dropped, or when this process ends, in the order given.
#[derive(Debug)]
pub(super) struct Undo {
    shell: Child,
    told: Option<ChildStdin>,
}

impl Undo {
    pub(super) fn new() -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", "todo=$(cat); eval \"$todo\""])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Not hit by what ends the group of this process.
            .process_group(0)
            .spawn()
            .context("sh cannot be run")?;
        let told = shell.stdin.take();
        Ok(Self { shell, told })
    }

    /// One more shell command, of words that need no quoting.
    pub(super) fn later(&mut self, command: &str) -> Result<()> {
        let mut told = self.told.as_ref().context("open until dropped")?;
        writeln!(told, "{command}")?;
        Ok(told.flush()?)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.told = None;
        // It ends by itself once its input has; where it cannot be waited for there is nothing to do.
        let _ = self.shell.wait();
    }
}
