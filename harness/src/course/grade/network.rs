//! A network namespace of its own for each submission: its program, its broker, proxy and sink see
//! nothing but a loopback interface that is theirs alone, and reach nothing else.
//!
//! Linux makes one for an administrator, and for anybody where user namespaces are allowed
//! (`unshare(2)`, `user_namespaces(7)`). Where neither is, submissions run on the loopback interface
//! that all share, and the report says so.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Whether a program can be started in a network of its own here.
pub(crate) fn can() -> bool {
    let mut command = Command::new("true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    apart(&mut command);
    command.status().is_ok_and(|status| status.success())
}

/// Starts the program in a network of its own; it does not start where there can be none.
pub(crate) fn apart(command: &mut Command) {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // The same user inside as outside.
    let users = format!("{user} {user} 1");
    let groups = format!("{group} {group} 1");
    #[expect(unsafe_code, reason = "between fork and exec; system calls only, nothing is allocated")]
    // SAFETY: the closure makes system calls on what was prepared before, and allocates nothing.
    unsafe {
        command.pre_exec(move || enter(&users, &groups));
    }
}

fn enter(users: &str, groups: &str) -> io::Result<()> {
    if unshare(libc::CLONE_NEWNET).is_err() {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
        write(c"/proc/self/setgroups", "deny")?;
        write(c"/proc/self/uid_map", users)?;
        write(c"/proc/self/gid_map", groups)?;
    }
    bring_up_loopback()
}

#[expect(unsafe_code, reason = "rustix has it only for threads that it starts")]
fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: this process has one thread, and shares no memory that the call would take away.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write(path: &std::ffi::CStr, text: &str) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// A new namespace has a loopback interface that is down.
#[expect(unsafe_code, reason = "no safe call sets the flags of an interface")]
fn bring_up_loopback() -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all bytes zero are a request without a name and without flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives until the call returns, and is what SIOCSIFFLAGS takes.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_machines_network_is_there() {
        let mut command = Command::new("cat");
        command.arg("/proc/self/net/dev");
        apart(&mut command);
        let output = command.output();
        // Where there can be no network of its own, it does not start: never in the one that all share.
        assert_eq!(output.is_ok(), can());
        let Ok(output) = output else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let interfaces: Vec<&str> =
            text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        assert_eq!(interfaces, ["lo"], "{text}");
    }
}
