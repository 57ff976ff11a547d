//! Redis, without persistence: its content can always be computed again.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Server;
use crate::files;
use crate::stage::Stage;

pub struct Redis<'a> {
    pub stage: &'a Stage,
}

impl Redis<'_> {
    /// The password is in a file that only the owner can read; a command line is visible to all users.
    fn configuration_file(&self) -> PathBuf {
        self.stage.dir.join("data/redis.conf")
    }
}

impl Server for Redis<'_> {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn port(&self) -> u16 {
        self.stage.ports.redis
    }

    fn port_variable(&self) -> &'static str {
        "SOUK_REDIS_PORT"
    }

    /// Least privilege: the authorizer, which sees every token, has a user that may only read revocations.
    fn prepare(&self) -> Result<()> {
        let (port, password) = (self.port(), &self.stage.redis.password);
        let (user, user_password) = (&self.stage.revocation.username, &self.stage.revocation.password);
        let text = format!(
            "user {user} on >{user_password} resetkeys %R~souk:revoked:* resetchannels -@all +get +mget +ping\n\
             port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave \"\"\nappendonly no\ndaemonize no\n\
             maxmemory 128mb\nmaxmemory-policy noeviction\n"
        );
        files::write_private(&self.configuration_file(), &text)
    }

    fn command(&self) -> Command {
        let mut command = self.stage.command("redis-server");
        command.arg(self.configuration_file()).current_dir(self.stage.dir.join("data"));
        command
    }

    fn is_ready(&self) -> bool {
        let request = format!("AUTH {}\r\nPING\r\n", self.stage.redis.password);
        let expected = *b"+OK\r\n+PONG\r\n";
        let mut reply = [0; 12];
        super::connect(self.port()).is_some_and(|mut stream| {
            stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut reply).is_ok()
        }) && reply == expected
    }
}
