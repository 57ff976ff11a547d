//! Servers in the background: started with a log and a pid file, found again by a later run, stopped by pid.
//!
//! A pid alone is not enough to end a process: the kernel may have given the number to another one since. The record
//! therefore holds the start time and the boot, and a process that does not match both is never signalled.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::files;

/// How long a process may take to end after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// One server of a stage, with its log and its pid file.
pub struct Process {
    pub name: &'static str,
    pub log: PathBuf,
    record: PathBuf,
}

/// The content of a pid file.
pub struct Record {
    pub pid: i32,
    started: u64,
    boot: String,
    /// Of the command line: with another one the server must be started anew.
    pub fingerprint: String,
}

impl Process {
    pub fn new(name: &'static str, stage: &std::path::Path) -> Self {
        let file = name.to_lowercase().replace(' ', "-");
        Self {
            name,
            log: stage.join("logs").join(format!("{file}.log")),
            record: stage.join("run").join(format!("{file}.pid")),
        }
    }

    /// The record of a process that still runs.
    pub fn running(&self) -> Option<Record> {
        self.recorded().filter(|record| Stat::of(record.pid).is_some_and(|stat| record.is(&stat)))
    }

    fn recorded(&self) -> Option<Record> {
        let text = fs::read_to_string(&self.record).ok()?;
        let mut words = text.split_whitespace();
        Some(Record {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
            fingerprint: words.next()?.to_owned(),
        })
    }

    /// Starts the server in a process group of its own, so that Ctrl-C in the terminal does not reach it and its children
    /// can be found when it has died.
    pub fn spawn(&self, mut command: Command, fingerprint: &str) -> Result<Child> {
        let log = fs::File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}: {}", self.name, command.get_program().display()))?;
        let pid = i32::try_from(child.id())?;
        let started = Stat::of(pid).map_or(0, |stat| stat.started);
        files::write_private(&self.record, &format!("{pid} {started} {} {fingerprint}\n", boot_id()?))?;
        Ok(child)
    }

    /// Sends SIGTERM, then SIGKILL to every process of the group that is left after `timeout`. Returns whether there was
    /// anything to stop.
    pub fn stop(&self, timeout: Duration) -> Result<bool> {
        let Some(record) = self.recorded() else { return Ok(false) };
        let mut stopped = false;
        if let Some(running) = self.running() {
            signal(running.pid, Signal::TERM)?;
            wait_until(timeout, || self.running().is_none());
            stopped = true;
        }
        for pid in record.group() {
            signal(pid, Signal::KILL)?;
            stopped = true;
        }
        if !wait_until(KILL_TIMEOUT, || record.group().is_empty()) {
            bail!("{} (pid {}) does not end; end it by hand", self.name, record.pid);
        }
        fs::remove_file(&self.record).ok();
        Ok(stopped)
    }

    /// Ends the server's children; the server runs on.
    pub fn end_children(&self) -> Result<()> {
        let Some(record) = self.running() else { return Ok(()) };
        for pid in record.group().into_iter().filter(|pid| *pid != record.pid) {
            signal(pid, Signal::KILL)?;
        }
        Ok(())
    }

    /// An error with the component's name, the path and the last lines of its log, and what to do.
    pub fn failure(&self, what: &str, advice: &str) -> anyhow::Error {
        let log = self.log.display();
        anyhow::anyhow!("{} {what}\n  log: {log}\n{}  {advice}", self.name, files::tail(&self.log, 12))
    }
}

impl Record {
    fn is(&self, stat: &Stat) -> bool {
        stat.started == self.started && !stat.is_zombie && boot_id().is_ok_and(|boot| boot == self.boot)
    }

    /// The living processes of the server's group. The kernel reuses no group's number while the group has members, so a
    /// process in it that is not older than the server belongs to the server.
    fn group(&self) -> Vec<i32> {
        if boot_id().map_or(true, |boot| boot != self.boot) {
            return Vec::new();
        }
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            Stat::of(*pid).is_some_and(|stat| stat.group == self.pid && stat.started >= self.started && !stat.is_zombie)
        })
        .collect()
    }
}

/// The few fields of `/proc/PID/stat` that tell one process from another.
struct Stat {
    is_zombie: bool,
    group: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

fn boot_id() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn signal(pid: i32, signal: Signal) -> Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(pid, signal) {
        Err(error) if error != rustix::io::Errno::SRCH => {
            Err(error).with_context(|| format!("cannot signal process {}", pid.as_raw_nonzero()))
        }
        _ => Ok(()),
    }
}

/// Polls a condition until it holds or the time is up; returns whether it held.
pub fn wait_until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// A program's exit code, or 1 if a signal ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;
    use std::time::Duration;

    use super::{Process, Stat, boot_id};

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// A directory that is removed with the value.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("souk-xtask-{name}-{}", std::process::id()));
            for part in ["logs", "run"] {
                fs::create_dir_all(path.join(part)).unwrap();
            }
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_is_found_again_and_stopped() {
        let directory = Directory::new("stop");
        let process = Process::new("Sleeper", &directory.0);
        let mut child = process.spawn(shell("exec sleep 60"), "print").unwrap();
        let again = Process::new("Sleeper", &directory.0);
        assert_eq!(again.running().unwrap().fingerprint, "print");
        assert!(again.stop(TIMEOUT).unwrap());
        assert!(again.running().is_none());
        assert!(!again.stop(TIMEOUT).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn a_pid_that_belongs_to_another_process_by_now_is_left_alone() {
        let directory = Directory::new("recycled");
        let mut other = shell("exec sleep 60").spawn().unwrap();
        let pid = i32::try_from(other.id()).unwrap();
        let earlier = Stat::of(pid).unwrap().started - 1;
        fs::write(directory.0.join("run/sleeper.pid"), format!("{pid} {earlier} {} x", boot_id().unwrap())).unwrap();
        let process = Process::new("Sleeper", &directory.0);
        assert!(process.running().is_none());
        assert!(!process.stop(TIMEOUT).unwrap());
        assert!(other.try_wait().unwrap().is_none(), "it was ended");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn children_of_a_killed_process_are_ended_too() {
        let directory = Directory::new("orphan");
        let process = Process::new("Parent", &directory.0);
        let mut parent = process.spawn(shell("sleep 60 & wait"), "x").unwrap();
        super::wait_until(TIMEOUT, || process.recorded().unwrap().group().len() == 2);
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(process.recorded().unwrap().group().len(), 1);
        assert!(process.stop(TIMEOUT).unwrap());
        assert!(!directory.0.join("run/parent.pid").exists());
    }
}
