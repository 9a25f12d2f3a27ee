package clients

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"rookery/internal/e2e/beside"
	"rookery/internal/e2e/harness"
)

// TestThousands has four programs deliver 5,000 messages into one Maildir at once,
// while sessions wait in IDLE or look in, mutt flags and syncs, and another program
// moves and renames files as mail programs do.
func TestThousands(t *testing.T) {
	harness.NeedRoot(t)
	procmail, maildrop := harness.Need(t, "procmail", "procmail"), harness.Need(t, "maildrop", "maildrop")
	d := harness.Start(t, "--users", "1", "--empty")
	dir := maildirFolder(t, d, 1, "")
	home := filepath.Dir(dir)
	uid, gid := owner(t, d, 1)
	u := beside.NewUser(t, uid, gid, home)
	p := beside.StartPostfix(u, "home_mailbox = Maildir/")
	filter := u.Write(".mailfilter", "to \""+dir+"\"\n", 0o600)
	traffic := beside.Traffic{
		Demo: d, User: u, Service: "imaps", Mailbox: dir, Limit: 5 * time.Minute, Also: func(stop <-chan struct{}) { flagAll(dir, stop) },
		Files: func() ([]byte, error) { return allFiles(dir) },
		Ways: []beside.Way{
			{Name: "postfix", Messages: 1250, Postfix: p},
			{Name: "procmail", Messages: 1250, Lanes: 1, Command: procmail + ` -m DEFAULT="` + dir + `/" ORGMAIL="` + dir + `/" /dev/null`},
			{Name: "maildrop", Messages: 1250, Lanes: 1, Command: maildrop + " " + filter},
			{Name: "script", Messages: 1250, Lanes: 1, Command: "sh -c '" + shellDelivery + `' "` + dir + `" "$(date +%s).P$$Q$id.host"`},
		},
	}
	traffic.Thousands(t)
}

// allFiles reads what is in new/ and cur/.
func allFiles(dir string) ([]byte, error) {
	var all []byte
	for _, sub := range []string{"new", "cur"} {
		list, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			text, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
			if err != nil {
				return nil, err
			}
			all = append(append(all, text...), '\n')
		}
	}
	return all, nil
}

// flagAll does what mail programs on the same Maildir do: it moves files from new/ to
// cur/ and renames them for other flags, all the time.
func flagAll(dir string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "new", "*")); len(names) > 0 {
			name := names[n%len(names)]
			os.Rename(name, filepath.Join(dir, "cur", filepath.Base(name)+":2,"))
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "cur", "*:2,")); len(names) > 0 {
			name := names[n%len(names)]
			os.Rename(name, name+"F")
		}
	}
}
