package attack_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rookery/internal/child"
	"rookery/internal/sandbox"
)

// TestWeakened is the proof that the attempts of the other tests are real: the
// same programs without their chroot, Landlock and seccomp reach what they aim
// at, as far as their uid goes.
func TestWeakened(t *testing.T) {
	outside := []string{"/etc/passwd", "connect by Unix path", "map executable", "call execve"}
	mail := []string{"read", "write", "unlink", "chmod", "setxattr", "hard link", "symbolic link, made", "list"}
	for _, c := range []struct {
		role child.Role
		want []string
	}{
		{child.Login, append(outside, "listener: shutdown, MSG_FASTOPEN")},
		{child.Authd, append(outside, "passwd-file")},
		{child.Logd, outside},
		{child.IMAPWorker, append(mail, outside...)},
		{child.POP3Worker, append(mail, outside...)},
	} {
		s := setup{role: c.role, shared: true, without: sandbox.Chroot | sandbox.Landlock | sandbox.Seccomp}
		t.Run(c.role.Program(), func(t *testing.T) {
			srv := start(t, s)
			var got summary
			if err := json.Unmarshal([]byte(srv.tryIt(c.role)), &got); err != nil {
				t.Fatal(err)
			}
			for _, name := range c.want {
				if !slices.Contains(got.Done, name) {
					t.Errorf("%q did not come through: %s", name, got.Why[name])
				}
			}
			if got.Trapped != 0 {
				t.Errorf("seccomp trapped %d", got.Trapped)
			}
		})
	}
}

// tryIt has the taken-over process run the catalogue, however that goes, and
// gives its summary.
func (s *server) tryIt(role child.Role) string {
	s.t.Helper()
	switch role {
	case child.Login:
		return order(s.takenLogin(), "try")
	case child.IMAPWorker, child.POP3Worker:
		return order(s.takenWorker(role, "u1"), "try")
	case child.Authd:
		c, err := s.dial("imap")
		must(s.t, err)
		c.ExpectPrefix("* OK")
		order(c, "a LOGIN order x")
	}
	s.eventually("the summary is in the log", func() bool {
		_, rest, ok := strings.Cut(s.demo.Log(), "summary {")
		return ok && strings.Contains(rest, "\n")
	})
	_, text, _ := strings.Cut(s.demo.Log(), "summary ")
	text, _, _ = strings.Cut(text, "\n")
	return text
}
