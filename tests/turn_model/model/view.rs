//! What can be seen of the model between two turns, and at its end.

use super::{Job, Model};
use crate::{End, Event, View};

impl Model {
    /// What there is to see after a turn of so many steps.
    pub(super) fn view(&self, steps: usize) -> View {
        let alarms = self.alarms.iter();
        let alarms: Vec<_> = alarms.filter(|alarm| self.is_live(alarm.2)).collect();
        let next_deadline = alarms.first().map(|(deadline, ..)| *deadline);
        let work_left =
            !self.queue.is_empty() || next_deadline.is_some_and(|deadline| deadline <= self.now);
        let due = self.queue.iter().filter(|job| match job {
            Job::Timer(timer) => self.timers[*timer].is_some(),
            _ => false,
        });
        let due = due.count();
        let ready = self.queue.iter().filter(|job| match job {
            Job::Resume(number) => self.coroutines[*number].end.is_none(),
            Job::Call(_) => true,
            Job::Timer(_) => false,
        });
        let doing = self.alive().map(|(number, coroutine)| {
            let doing = match coroutine.parked_on {
                _ if !coroutine.started => "not started",
                _ if coroutine.queued => "ready",
                point => point.unwrap_or("foreign"),
            };
            (number, doing)
        });
        View {
            steps,
            work_left,
            next_deadline,
            stuck: !work_left
                && next_deadline.is_none()
                && self.alive().count() > 0
                && self.alive().all(|(_, coroutine)| !coroutine.left_waker),
            ready: ready.count() + due,
            timers: alarms.len() + due,
            doing: doing.collect(),
        }
    }

    /// What happens when the loop is dropped, in no promised order: everybody ends, and what no handle took is told.
    pub(crate) fn end(&self) -> Vec<Event> {
        let ended = self.alive().map(|(number, _)| Event::Ended(number));
        let all = self.coroutines.iter().enumerate();
        let untaken =
            all.filter(|(_, coroutine)| coroutine.has_handle && coroutine.end == Some(End::Failed));
        let untaken = untaken.map(|(number, _)| Event::Untaken(number));
        ended.chain(untaken).collect()
    }
}
