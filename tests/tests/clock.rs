//! Expiry of tokens, sessions and codes, leases, backoff, rate limits, retention: tests move the clock instead of
//! waiting.
//!
//! The stores are the stage's. No deployed function takes part: its clock is the system's.

use std::collections::BTreeSet;

use shared::{
    ambient::Ambient,
    auth::{
        Authenticator,
        account::{self, Proof},
        session::{self, RefreshGrace, SessionWithToken},
        strategy::Identity,
        token::TokenSigner,
    },
    aws::Aws,
    contract::{Access, Limit, ResourceContext},
    error::Problem,
    identity::{
        ACCESS_TOKEN_LIFETIME, AccessToken, Caller, Client, MailCode, MailCodeProof, RefreshToken, Role, Roles,
    },
    mac::MacKey,
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::{Backoff, OutboxMessage},
    store::{
        Limiter, Mongodb, Mysql, Redis,
        mongodb::{
            sessions,
            user_outbox::{Holder, UserOutbox},
            users::{self, Inserted, NewUser},
        },
        mysql::{
            self, idempotency_keys,
            processed_messages::{self, Outcome},
            reports::{self, Started, Status},
        },
        outbox::{LEASE, MarkSent, Outbox, Waiting},
        redis::{login_codes, revocations::Revocations},
    },
    telemetry::Trace,
};
use tests::{Stage, people, report::request_report};
use time::Duration;
use tokio::sync::Mutex;
use uuid::Uuid;

/// The least that a clock is moved: the precision of MongoDB.
const MOMENT: Duration = Duration::MILLISECOND;
const GRACE: RefreshGrace = RefreshGrace(Duration::seconds(10));

/// Claims and purges see all rows of a table, so tests with rows in MySQL or an outbox run one at a time. Test programs
/// run one after another anyway.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A clock that starts at the present time: no row that a test writes is due yet for the stage's relay, which has the
/// system's clock.
fn clock() -> Ambient {
    Ambient::at(Ambient::system().now().truncate_to_second())
}

/// Adds a user whose address is not verified, with the message that must follow.
async fn add_user(mongodb: &Mongodb, ambient: &Ambient, message: Option<&OutboxMessage>) -> Uuid {
    let user = NewUser {
        id: ambient.id(),
        email: people::new_address().parse().unwrap(),
        email_verified: false,
        password_hash: None,
        identity_key: None,
        roles: Roles(vec![Role::Customer]),
        now: ambient.now(),
    };
    assert_eq!(users::insert(mongodb, &user, message).await.unwrap(), Inserted::Yes);
    user.id
}

/// A mail to a user that there is not.
fn mail(ambient: &Ambient) -> OutboxMessage {
    let mail = Email { to: Recipient::User(ambient.id()), content: Content::PasswordChanged };
    OutboxMessage::command::<EmailQueue>(ambient.id(), &Trace::of(None, None, ambient), mail).unwrap()
}

#[tokio::test]
async fn an_access_token_is_let_in_until_it_expires() {
    let ambient = clock();
    let context = ResourceContext::new(Aws::default(), ambient.clone());
    let (signer, authenticator): (TokenSigner, Authenticator) = (context.get().unwrap(), context.get().unwrap());
    let caller = Caller { user_id: ambient.id(), session_id: ambient.id(), roles: Roles(vec![Role::Customer]) };
    let token = AccessToken { caller: caller.clone(), generation: 0 };
    let token = signer.sign(&token, ambient.id(), ambient.now()).await.unwrap();
    let authenticate = async || authenticator.authenticate(Access::User, Some(&token)).await;

    assert_eq!(authenticate().await, Ok(caller.clone()));
    ambient.advance(ACCESS_TOKEN_LIFETIME);
    assert_eq!(authenticate().await, Ok(caller), "within the leeway");
    ambient.advance(Duration::seconds(5));
    assert_eq!(authenticate().await, Err(Problem::Unauthenticated));
}

/// Sessions in the real stores, on a test's clock.
struct Sessions {
    mongodb: Mongodb,
    redis: Redis,
    ambient: Ambient,
}

impl Sessions {
    fn open() -> Self {
        Self { mongodb: Stage::get().resource(), redis: Stage::get().resource(), ambient: clock() }
    }

    async fn begin(&self) -> SessionWithToken {
        let (identity, client) = (Identity { user_id: self.ambient.id(), epoch: 0 }, Client::new("192.0.2.1", "test"));
        session::begin(&self.mongodb, &identity, &client, &self.ambient).await.unwrap()
    }

    async fn refresh(&self, token: &RefreshToken) -> Option<RefreshToken> {
        let refreshed = session::refresh(&self.mongodb, &self.redis, token, GRACE, &self.ambient).await;
        refreshed.unwrap().map(|refreshed| refreshed.token)
    }
}

#[tokio::test]
async fn a_refresh_token_gets_its_successor_again_within_the_grace_period_and_ends_its_session_after_it() {
    let (sessions, revocations): (_, Revocations) = (Sessions::open(), Stage::get().resource());
    let SessionWithToken { session, token: first } = sessions.begin().await;
    let second = sessions.refresh(&first).await.expect("the session is good");
    sessions.ambient.advance(GRACE.0);
    assert!(sessions.refresh(&first).await.expect("within the grace period") == second);
    assert!(!revocations.hold(session.id, 1).await);

    sessions.ambient.advance(MOMENT);
    assert!(sessions.refresh(&first).await.is_none());
    assert!(sessions.refresh(&second).await.is_none(), "its session has ended");
    for generation in 0..2 {
        assert!(revocations.hold(session.id, generation).await, "access tokens of generation {generation}");
    }
}

#[tokio::test]
async fn a_session_ends_thirty_days_after_its_login_however_often_it_is_refreshed() {
    let sessions = Sessions::open();
    let SessionWithToken { session, token } = sessions.begin().await;
    let owner = Caller { user_id: session.user_id, session_id: session.id, roles: Roles(Vec::new()) }.owner();
    let listed = async || sessions::list(&sessions.mongodb, owner, sessions.ambient.now()).await.unwrap().len();
    sessions.ambient.advance(sessions::LIFETIME / 2);
    let token = sessions.refresh(&token).await.expect("after half of the time");
    sessions.ambient.advance(sessions::LIFETIME / 2 - MOMENT);
    let token = sessions.refresh(&token).await.expect("at the last moment");
    assert_eq!(listed().await, 1);
    sessions.ambient.advance(MOMENT);
    assert!(sessions.refresh(&token).await.is_none());
    assert_eq!(listed().await, 0);
}

#[tokio::test]
async fn a_challenge_waits_ten_minutes_for_its_code_which_is_then_valid_for_five() {
    let (redis, mac, ambient): (Redis, MacKey, _) = (Stage::get().resource(), Stage::get().resource(), clock());
    let open = async || {
        let id = ambient.id();
        login_codes::open(&redis, id, &people::new_address(), ambient.now()).await.unwrap();
        id
    };
    let issue = async |id| login_codes::issue(&redis, &mac, id, "123456", ambient.now()).await.unwrap();
    let attempt = async |id| login_codes::attempt(&redis, id, ambient.now()).await.unwrap();
    let kept = async |id: Uuid| {
        let seconds: i64 = redis.send_idempotent(redis::cmd("TTL").arg(format!("souk:login-code:{id}"))).await.unwrap();
        Duration::seconds(seconds)
    };

    let [forgotten, typed, late] = [open().await, open().await, open().await];
    assert!(kept(forgotten).await > login_codes::CHALLENGE_LIFETIME);
    ambient.advance(login_codes::CHALLENGE_LIFETIME - MOMENT);
    assert!(issue(typed).await && issue(late).await);
    assert!(attempt(forgotten).await.is_some());
    let kept = kept(typed).await;
    assert!(kept > login_codes::LIFETIME && kept < login_codes::CHALLENGE_LIFETIME, "Redis forgets it: {kept}");
    ambient.advance(MOMENT);
    assert!(!issue(forgotten).await, "its mail is not written any more");
    assert!(attempt(forgotten).await.is_none());

    ambient.advance(login_codes::LIFETIME - MOMENT * 2);
    assert!(attempt(typed).await.unwrap().redeem(&redis, &mac, "123456").await.unwrap());
    assert!(attempt(late).await.is_some());
    ambient.advance(MOMENT);
    assert!(attempt(late).await.is_none());
}

#[tokio::test]
async fn a_code_that_verifies_an_address_counts_until_it_expires() {
    let (mongodb, redis, ambient): (Mongodb, Redis, _) = (Stage::get().resource(), Stage::get().resource(), clock());
    let send = async || {
        let (user, (_, proof)) = (add_user(&mongodb, &ambient, None).await, MailCode::issue(&ambient, Duration::DAY));
        users::set_verification_code(&mongodb, user, &proof).await.unwrap();
        proof
    };
    let verify = async |proof: &MailCodeProof| {
        let verified = account::prove(&mongodb, &redis, Proof::VerificationCode(&proof.hash), &ambient).await;
        verified.map_err(|error| error.problem())
    };
    let [used, late] = [send().await, send().await];
    ambient.advance(Duration::DAY - MOMENT);
    assert!(verify(&used).await.unwrap().email_verified);
    ambient.advance(MOMENT);
    assert_eq!(verify(&late).await.unwrap_err(), Problem::InvalidCode);
}

#[tokio::test]
async fn a_code_that_resets_a_password_counts_until_it_expires() {
    let (mongodb, redis, ambient): (Mongodb, Redis, _) = (Stage::get().resource(), Stage::get().resource(), clock());
    let send = async || {
        let (user, (_, proof)) = (add_user(&mongodb, &ambient, None).await, MailCode::issue(&ambient, Duration::HOUR));
        users::set_reset_code(&mongodb, user, &proof).await.unwrap();
        (user, proof)
    };
    let is_known = async |proof: &MailCodeProof| {
        users::find_by_reset_code(&mongodb, &proof.hash, ambient.now()).await.unwrap().is_some()
    };
    let message = mail(&ambient);
    let reset = async |(user_id, proof): &(Uuid, MailCodeProof)| {
        let (user_id, code_hash, password_hash) = (*user_id, proof.hash.as_slice(), "of the new password");
        let proof = Proof::ResetCode { user_id, code_hash, password_hash, message: &message };
        account::prove(&mongodb, &redis, proof, &ambient).await.map_err(|error| error.problem())
    };
    let [used, late] = [send().await, send().await];
    ambient.advance(Duration::HOUR - MOMENT);
    assert!(is_known(&late.1).await);
    assert_eq!(reset(&used).await.unwrap().id, used.0);
    ambient.advance(MOMENT);
    assert!(!is_known(&late.1).await);
    assert_eq!(reset(&late).await.unwrap_err(), Problem::InvalidCode);
    let outbox = UserOutbox { mongodb, holder: Holder::User(used.0) };
    outbox.mark_sent(message.id, &[message.id], ambient.now()).await.unwrap();
}

/// A message in an outbox, on a test's clock.
struct Entry<'a, O> {
    outbox: &'a O,
    id: Uuid,
    ambient: &'a Ambient,
}

impl<O: Outbox> Entry<'_, O> {
    /// Claims what is due. How often the message was tried by then, if it was due.
    async fn claim(&self, worker: Uuid) -> Option<u32> {
        let claimed = self.outbox.claim(worker, 1000, self.ambient.now()).await.unwrap();
        claimed.iter().find(|claimed| claimed.id == self.id).map(|claimed| claimed.attempts)
    }

    /// The message as it waits to be sent.
    async fn waiting(&self) -> Option<Waiting> {
        let waiting = self.outbox.waiting(10_000).await.unwrap();
        waiting.into_iter().find(|waiting| waiting.id == self.id)
    }

    async fn mark_sent(&self, worker: Uuid) {
        self.outbox.mark_sent(worker, &[self.id], self.ambient.now()).await.unwrap();
    }

    async fn passes_from_worker_to_worker(&self) {
        let (first, second) = (self.ambient.id(), self.ambient.id());
        self.ambient.advance(LEASE - MOMENT);
        assert_eq!(self.claim(first).await, None, "it is left to its sender");
        self.ambient.advance(MOMENT);
        assert_eq!(self.claim(first).await, Some(2));
        self.ambient.advance(LEASE - MOMENT);
        assert_eq!(self.claim(second).await, None, "the first one holds it");
        self.ambient.advance(MOMENT);
        assert_eq!(self.claim(second).await, Some(3));

        self.mark_sent(first).await;
        self.outbox.mark_failed(first, self.id, self.ambient.now(), "late").await.unwrap();
        let held = self.waiting().await.expect("it is not the first one's any more");
        assert_eq!((held.available_at, held.last_error), (self.ambient.now() + LEASE, None));

        let pause = Backoff::SENDING.equal_jitter(3, self.ambient);
        self.outbox.mark_failed(second, self.id, self.ambient.now() + pause, "the queue is down").await.unwrap();
        self.ambient.advance(Duration::try_from(pause).unwrap() - MOMENT);
        assert_eq!(self.claim(first).await, None, "it rests");
        self.ambient.advance(MOMENT);
        assert_eq!(self.claim(first).await, Some(4));
        self.mark_sent(first).await;
        assert!(self.waiting().await.is_none());
    }
}

#[tokio::test]
async fn a_message_in_the_outbox_of_mysql_passes_to_another_worker_when_its_lease_is_over() {
    let _alone = ALONE.lock().await;
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), clock());
    let (_, message) = request_report(&mysql, &ambient).await;
    Entry { outbox: &mysql, id: message.id, ambient: &ambient }.passes_from_worker_to_worker().await;
}

#[tokio::test]
async fn a_message_in_the_outbox_of_mongodb_passes_to_another_worker_when_its_lease_is_over() {
    let _alone = ALONE.lock().await;
    let (mongodb, ambient): (Mongodb, _) = (Stage::get().resource(), clock());
    let message = mail(&ambient);
    add_user(&mongodb, &ambient, Some(&message)).await;
    Entry { outbox: &mongodb, id: message.id, ambient: &ambient }.passes_from_worker_to_worker().await;
}

#[tokio::test]
async fn a_message_that_is_processed_passes_to_another_delivery_when_its_lease_is_over() {
    let _alone = ALONE.lock().await;
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), clock());
    let id = ambient.id();
    let claim = async || processed_messages::claim(&mysql, "test", id, ambient.now()).await.unwrap();
    assert_eq!(claim().await, Outcome::Claimed);
    ambient.advance(processed_messages::LEASE);
    assert_eq!(claim().await, Outcome::InProgress);
    ambient.advance(MOMENT);
    assert_eq!(claim().await, Outcome::Claimed);
    assert_eq!(claim().await, Outcome::InProgress);
    processed_messages::done(&mysql, "test", id, ambient.now()).await.unwrap();
    ambient.advance(processed_messages::LEASE * 2);
    assert_eq!(claim().await, Outcome::Done);
}

/// A report, on a test's clock.
struct Making<'a> {
    mysql: &'a Mysql,
    ambient: &'a Ambient,
    id: Uuid,
}

impl<'a> Making<'a> {
    async fn request(mysql: &'a Mysql, ambient: &'a Ambient) -> Self {
        let (new, message) = request_report(mysql, ambient).await;
        // So that the relay does not send it.
        mysql.mark_sent(message.id, &[message.id], ambient.now()).await.unwrap();
        Self { mysql, ambient, id: new.id }
    }

    async fn start(&self) -> Started {
        reports::start(self.mysql, self.id, self.ambient.id(), self.ambient.now()).await.unwrap()
    }

    /// The report's status and failure, after abandoned reports have failed.
    async fn standing(&self) -> (Status, Option<String>) {
        reports::fail_abandoned(self.mysql, self.ambient.now()).await.unwrap();
        let report = reports::find(self.mysql, self.id).await.unwrap().unwrap();
        (report.status, report.failure)
    }
}

#[tokio::test]
async fn a_report_is_kept_by_whoever_holds_it_and_by_no_late_writer() {
    let _alone = ALONE.lock().await;
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), clock());
    let making = Making::request(&mysql, &ambient).await;
    let Started::Yes(late) = making.start().await else { panic!("it is new") };
    ambient.advance(reports::LEASE);
    assert!(matches!(making.start().await, Started::InProgress));
    ambient.advance(MOMENT);
    let Started::Yes(job) = making.start().await else { panic!("the lease is over") };

    assert!(!late.finish(&mysql, "{}", ambient.now()).await.unwrap());
    assert!(!late.fail(&mysql, "late", ambient.now()).await.unwrap());
    late.release(&mysql).await.unwrap();
    assert_eq!(making.standing().await, (Status::Running, None));
    let reason = "a sum is more than a report can say";
    assert!(job.fail(&mysql, reason, ambient.now()).await.unwrap());
    assert!(matches!(making.start().await, Started::Over));
    assert_eq!(making.standing().await, (Status::Failed, Some(reason.to_owned())));
}

#[tokio::test]
async fn an_abandoned_report_fails_after_two_hours_and_one_that_is_leased_when_its_lease_is_over() {
    let _alone = ALONE.lock().await;
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), clock());
    let [abandoned, late] = [Making::request(&mysql, &ambient).await, Making::request(&mysql, &ambient).await];
    ambient.advance(reports::ABANDONED_AFTER);
    assert_eq!(abandoned.standing().await, (Status::Queued, None));
    assert!(matches!(late.start().await, Started::Yes(_)));
    ambient.advance(MOMENT);
    let (status, failure) = abandoned.standing().await;
    assert_eq!(status, Status::Failed);
    assert!(failure.is_some());
    assert!(matches!(abandoned.start().await, Started::Over));

    assert_eq!(late.standing().await, (Status::Running, None));
    ambient.advance(reports::LEASE);
    assert_eq!(late.standing().await.0, Status::Failed, "its maker died");
}

/// A row, and the greatest age at which it is kept: any, where there is none.
struct Row {
    table: &'static str,
    column: &'static str,
    id: Uuid,
    retention: Option<Duration>,
}

impl Row {
    async fn is_there(&self, mysql: &Mysql) -> bool {
        let query = format!("SELECT COUNT(*) FROM {} WHERE {} = ?", self.table, self.column);
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(self.id);
        let count: i64 = count.fetch_one(&mut *mysql.connection().await.unwrap()).await.unwrap();
        count > 0
    }
}

#[tokio::test]
async fn each_row_is_forgotten_when_its_retention_is_over_and_not_before() {
    let _alone = ALONE.lock().await;
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), clock());
    let start = ambient.now();
    let (report, message) = request_report(&mysql, &ambient).await;
    mysql.mark_sent(message.id, &[message.id], start).await.unwrap();
    assert_eq!(processed_messages::claim(&mysql, "test", message.id, start).await.unwrap(), Outcome::Claimed);
    processed_messages::done(&mysql, "test", message.id, start).await.unwrap();
    let (_, unsent) = request_report(&mysql, &ambient).await;

    let row = |table, column, id, retention| Row { table, column, id, retention };
    let rows = [
        row("idempotency_keys", "user_id", report.user_id, Some(idempotency_keys::RETENTION)),
        row("outbox", "id", message.id, Some(mysql::outbox::RETENTION)),
        row("outbox", "id", unsent.id, None),
        row("processed_messages", "message_id", message.id, Some(processed_messages::RETENTION)),
        row("reports", "id", report.id, Some(reports::RETENTION)),
    ];
    let retentions: BTreeSet<Duration> = rows.iter().filter_map(|row| row.retention).collect();
    for age in retentions.into_iter().flat_map(|retention| [retention, retention + MOMENT]) {
        ambient.advance(start + age - ambient.now());
        let now = ambient.now();
        // A purge deletes a bounded number of rows, and those of other tests are older.
        while idempotency_keys::purge(&mysql, now).await.unwrap()
            + mysql::outbox::purge(&mysql, now).await.unwrap()
            + processed_messages::purge(&mysql, now).await.unwrap()
            + reports::purge(&mysql, now).await.unwrap()
            > 0
        {}
        for row in &rows {
            let is_kept = row.retention.is_none_or(|retention| age <= retention);
            assert_eq!(row.is_there(&mysql).await, is_kept, "{}.{} at the age of {age}", row.table, row.column);
        }
    }
    mysql.mark_sent(unsent.id, &[unsent.id], start).await.unwrap();
}

#[tokio::test]
async fn a_limit_is_counted_anew_when_its_window_is_over_and_not_before() {
    let limiter: Limiter = Stage::get().resource();
    let (limit, account) = (Limit::LoginCode, people::new_address());
    let (quota, now) = (limit.by_account(), Ambient::system().now().truncate_to_second());
    let window = i64::try_from(quota.window.as_secs()).unwrap();
    // The last moment of the window that it is now.
    let ambient = Ambient::at(now + Duration::seconds(window - now.unix_timestamp() % window) - MOMENT);
    let count = async || limiter.count_account(limit, &account, ambient.now()).await;
    for resets_in in [1, quota.window.as_secs()] {
        for left in (0..quota.requests).rev() {
            let [_, (_, status)] = count().await.unwrap().headers();
            assert_eq!(status, format!("\"account\";r={left};t={resets_in}"));
        }
        let refused = count().await.unwrap_err();
        assert_eq!(refused.problem(), Problem::TooManyRequests);
        assert_eq!(refused.retry_after().unwrap().as_secs(), resets_in);
        ambient.advance(MOMENT);
    }
}
