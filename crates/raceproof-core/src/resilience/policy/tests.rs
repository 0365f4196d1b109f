use super::*;

const WAIT: Duration = Duration::from_secs(3);

#[test]
fn p1_a_refusal_is_no_verdict_about_the_service() {
    let refusals = [Stopped::Busy, Stopped::Open { retry_after: Some(WAIT) }, Stopped::Limited { retry_after: None }];
    for refusal in refusals {
        assert_eq!(refusal.verdict(), None, "{refusal:?}");
    }
}

#[test]
fn p1_a_permanent_error_is_an_answer_and_what_takes_too_long_is_a_failure() {
    assert_eq!(Stopped::Failed(Fault::Permanent).verdict(), Some(Verdict::Success));
    assert_eq!(Stopped::Failed(Fault::Transient).verdict(), Some(Verdict::Failure));
    assert_eq!(Stopped::Failed(Fault::After(WAIT)).verdict(), Some(Verdict::Failure));
    assert_eq!(Stopped::TimedOut.verdict(), Some(Verdict::Failure));
}

#[test]
fn p2_a_refusal_is_tried_again_when_it_says_so_and_never_where_it_says_never() {
    for (retry_after, fault) in [(Some(WAIT), Fault::After(WAIT)), (None, Fault::Permanent)] {
        assert_eq!(Stopped::Open { retry_after }.fault(), fault);
        assert_eq!(Stopped::Limited { retry_after }.fault(), fault);
    }
    assert_eq!(Stopped::TimedOut.fault(), Fault::Transient);
    assert_eq!(Stopped::Busy.fault(), Fault::Transient);
    assert_eq!(Stopped::Failed(Fault::Permanent).fault(), Fault::Permanent);
}
