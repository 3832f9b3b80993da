//! One child process, ended with its owner.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::wait::within;

/// How long a process may take to stand still.
const STOPS_MAX: Duration = Duration::from_secs(5);

/// Where the workspace's binaries are: beside the directory of this test's own binary.
///
/// # Errors
/// Where the binary was not built; says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let deps = exe.parent().context("this test's binary has a directory")?;
    let dir = if deps.ends_with("deps") { deps.parent().context("deps has a parent")? } else { deps };
    let path = dir.join(name);
    ensure!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    Ok(path)
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `args`; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn<I, S>(name: &str, program: &Path, args: I, log: &Path) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(args)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", self.name))
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// SIGSTOP, and waits until every thread of it stands still: on a busy machine the last ones still work for a while
    /// after the signal was sent.
    ///
    /// # Errors
    /// Where it cannot be signalled, or does not stand still within 5 seconds.
    #[expect(clippy::disallowed_methods, reason = "some milliseconds, in a test, for a process that is about to stop")]
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        for _ in 0..STOPS_MAX.as_millis() {
            if self.stands_still()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        anyhow::bail!("{} goes on after SIGSTOP", self.name)
    }

    fn stands_still(&self) -> Result<bool> {
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
            // The name, in brackets, may hold anything; the state follows it.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['T', 't']));
            if state != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub async fn terminate(self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(Duration::from_secs(20)).await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub async fn ended(mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        within(limit, &what, || std::future::ready(self.child.try_wait())).await
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
