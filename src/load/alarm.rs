//! Waits that end on time: a poll counts milliseconds, and rounds them up.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Below this a wait is spent asking: waking up takes about as long.
const ASKED: Duration = Duration::from_micros(50);

/// What a poll may come too late by, and a little more.
const POLL_STEP: Duration = Duration::from_millis(2);

/// A timer that makes a poll return.
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Alarm {
    /// Not set. Its ringing is an event with that token.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm(timer))
    }

    /// How long to poll if not more than `timeout` is to be waited: less, since the last of it would come late. That is
    /// the alarm's, and only then it is set.
    pub fn set(&self, timeout: Duration) -> io::Result<Duration> {
        if timeout < ASKED {
            return Ok(Duration::ZERO);
        }
        if timeout > POLL_STEP {
            return Ok(timeout - POLL_STEP);
        }
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at = Timespec { tv_sec: 0, tv_nsec: timeout.as_nanos() as i64 };
        let alarm = Itimerspec { it_interval: once, it_value: at };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &alarm)?;
        Ok(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn it_rings_when_a_poll_would_not_know_and_not_before() {
        let mut poll = Poll::new().unwrap();
        let alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        assert_eq!(alarm.set(Duration::from_micros(10)).unwrap(), Duration::ZERO);
        assert_eq!(alarm.set(Duration::from_millis(20)).unwrap(), Duration::from_millis(18));
        let mut events = Events::with_capacity(1);
        for _ in 0..3 {
            let begin = Instant::now();
            assert_eq!(alarm.set(Duration::from_micros(300)).unwrap(), Duration::MAX);
            poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
            assert_eq!(events.iter().next().unwrap().token(), Token(7));
            assert!(begin.elapsed() >= Duration::from_micros(300));
        }
    }
}
