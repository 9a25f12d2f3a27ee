package imapworker

import (
	"errors"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/settings"
)

// unreadable is a store whose messages cannot be read.
type unreadable struct{ *memstore.Store }

type unreadableBox struct{ mailstore.Mailbox }

func (u unreadable) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := u.Store.Open(name)
	return unreadableBox{box}, err
}

func (unreadableBox) Message(mailstore.UID) (mailstore.Message, error) {
	return nil, errkind.New("message", errkind.IO, errors.New("bad sector"))
}

// Each setting changes what a client or the log sees.
func TestSettings(t *testing.T) {
	long := strings.Repeat("x", 9000)
	for _, test := range []struct {
		setting *settings.Decl
		raw     any
		send    string
		end     string // what the last line to be read begins with
		without string // that line where the setting is not given
		with    string
		log     bool // it is the log's last line that counts
	}{
		{settings.IMAPMaxLineLength.Decl(), "8k", "a " + long + "\r\n", "a ", "a BAD Unknown command.", "a BAD Command line too long", false},
		{settings.IMAPIDSend.Decl(), map[string]any{"vendor": "x"}, "a ID NIL\r\n", "* ID", `* ID ("name" "Rookery")`, `* ID ("vendor" "x")`, false},
		{settings.IMAPIDSend.Decl(), map[string]any{}, "a ID NIL\r\n", "* ID", `* ID ("name" "Rookery")`, `* ID NIL`, false},
		{settings.IMAPClientWorkarounds.Decl(), []any{"tb-extra-mailbox-sep"}, "a SELECT INBOX/\r\n", "a ", "a NO [CANNOT] Mailbox name is empty or has an empty part.", "a OK [READ-WRITE] Select completed.", false},
		{settings.IMAPClientWorkarounds.Decl(), []any{"tb-lsub-flags"}, "a CREATE x.y\r\nb CREATE x/y\r\na SUBSCRIBE x\r\na LSUB \"\" x\r\n", "* LSUB", `* LSUB () "/" x`, `* LSUB (\Noselect) "/" x`, false},
		{settings.IMAPClientWorkarounds.Decl(), []any{"delay-newmail"}, "a SELECT INBOX\r\nb APPEND INBOX {1+}\r\nx\r\nc UID FETCH 2 FLAGS\r\n", "c ", "c OK Fetch completed. 2", "c OK Fetch completed. 1", false},
		{settings.MailMaxKeywordLength.Decl(), int64(10), "a SELECT INBOX\r\nz STORE 1 +FLAGS 12345678901\r\n", "z ", "z OK Store completed.", "z NO [CANNOT] Keyword name is too long.", false},
		{settings.MailUTF8Extensions.Decl(), false, "z CREATE \"\xc3\xbc\"\r\n", "z ", "z OK [MAILBOXID ", "z BAD Error in command CREATE: expected a mailbox name in modified UTF-7", false},
		{settings.MailUTF8Extensions.Decl(), false, "y ENABLE UTF8=ACCEPT\r\nz CREATE \"\xff\"\r\n", "z ", "z BAD Error in command CREATE: expected UTF-8", "z BAD Error in command CREATE: expected a mailbox name in modified UTF-7", false},
		{settings.MailUTF8Extensions.Decl(), false, "z APPEND INBOX {3+}\r\n\xc3\xbc:\r\n", "z ", "z NO [CANNOT] The header has octets above 127: ENABLE UTF8=ACCEPT first, or encode them.", "z OK [APPENDUID 1001 2] Append completed.", false},
		{settings.IMAPMessageLimit.Decl(), int64(1000), "z APPEND INBOX" + strings.Repeat(" {1+}\r\nx", 1001) + "\r\n", "z ", "z OK [APPENDUID 1001 2:1002] Append completed.", "z NO [MESSAGELIMIT 1000] Too many messages to append at once.", false},
		{settings.IMAPSaveLimit.Decl(), int64(1000), "z APPEND INBOX" + strings.Repeat(" {1+}\r\nx", 1001) + "\r\n", "z ", "z OK [APPENDUID 1001 2:1002] Append completed.", "z NO [MESSAGELIMIT 1000] Too many messages to append at once.", false},
		{settings.IMAPCompressDeflateLevel.Decl(), int64(0), "z COMPRESS X\r\n", "z ", "z BAD Unknown compression algorithm.", "z BAD Unknown command.", false},
		{settings.MailMaxMessageSize.Decl(), "2k", "z APPEND INBOX {3000+}\r\n" + long[:3000] + "\r\n", "z ", "z OK [APPENDUID 1001 2] Append completed.", "z NO [TOOBIG] Message is too big.", false},
		{settings.QuotaMailSize.Decl(), "2k", "z APPEND INBOX {3000+}\r\n" + long[:3000] + "\r\n", "z ", "z OK [APPENDUID 1001 2] Append completed.", "z NO [TOOBIG] Message is too big.", false},
		{settings.IMAPFetchFailure.Decl(), "disconnect-after", "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\nc LOGOUT\r\n", "", "Disconnected: Logged out", "Disconnected: Message could not be read", true},
		{settings.IMAPFetchFailure.Decl(), "disconnect-immediately", "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\nc LOGOUT\r\n", "", "Disconnected: Logged out", "Disconnected: Message could not be read", true},
		{settings.IMAPLogoutFormat.Decl(), "%{user}/%{remote_ip}/%{session}: %{input}", "a LOGOUT\r\n", "", "Disconnected: Logged out in=10 out=", "Disconnected: Logged out /192.0.2.1/sess: 10", true},
	} {
		for _, given := range []bool{false, true} {
			set, want := settings.New(), test.without
			if given {
				want = test.with
				if err := set.SetRaw(test.setting, test.raw); err != nil {
					t.Fatal(err)
				}
			}
			got := ask(t, set, test.send, test.end, test.log)
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s %v, given %v: %q, want %q", test.setting.Name, test.raw, given, got, want)
			}
		}
	}
}

// ask gives the line that begins with end, followed by the last EXISTS before
// it where there were several; or the log's last line.
func ask(t *testing.T, set *settings.Set, send, end string, log bool) string {
	t.Helper()
	store := memstore.New(memstore.Options{})
	add(t, store, 1)
	b := newBenchOn(t, unreadable{store}, set)
	d := b.connect("")
	d.until("a0 ")
	d.send(send)
	got, exists := "", ""
	for !log {
		line, err := d.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\r\n")
		if strings.HasSuffix(line, " EXISTS") {
			exists = strings.Fields(line)[1]
		}
		if got = line; strings.HasPrefix(line, end) {
			break
		}
	}
	if exists != "" {
		got += " " + exists
	}
	if log {
		b.serving.Wait()
		got = b.log.lines[len(b.log.lines)-1]
	}
	d.Close()
	b.serving.Wait()
	return got
}

func add(t *testing.T, store *memstore.Store, n int) {
	t.Helper()
	a, err := store.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		w, err := a.Add(mailstore.AppendMeta{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
}

// imap_idle_notify_interval reaches the session; its transcripts show what it does.
func TestIdleNotifySetting(t *testing.T) {
	set := settings.New()
	if err := set.SetRaw(settings.IMAPIdleNotifyInterval.Decl(), "30s"); err != nil {
		t.Fatal(err)
	}
	got, err := sessionSettings(set)
	if err != nil || got.IdleNotify.String() != "30s" {
		t.Errorf("%v, %v", got.IdleNotify, err)
	}
}
