package worker

import (
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/settings"
)

func TestPlace(t *testing.T) {
	want := Place{"pack", "rookery-store-3"}
	if got, err := DecodePlace(want.Encode()); err != nil || got != want {
		t.Errorf("%v %v", got, err)
	}
	if got := string(want.Encode()); got != "rookery-place 1\ndriver pack\nbelow rookery-store-3\n" {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"", "rookery-place 1\n", "rookery-place 2\ndriver pack\nbelow rookery-store-3\n", "rookery-place 1\ndriver pack\nbelow rookery-store-3\nmore\n",
		"rookery-place 1\ndriver pack\nbelow rookery-store-3", "rookery-place 1\ndriver \nbelow rookery-store-3\n", "rookery-place 1\ndriver pack\nbelow ../other\n",
		"rookery-place 1\ndriver pack\nbelow rookery-store-\n", "rookery-place 1\ndriver pack\nbelow rookery-store-03\n", "rookery-place 1\ndriver pack\nbelow rookery-store-0\n",
		"rookery-place 1\ndriver pack\nbelow cur\n"} {
		if got, err := DecodePlace([]byte(bad)); !errkind.Is(err, errkind.Corrupt) {
			t.Errorf("%q was read as %v, %v", bad, got, err)
		}
	}
	got := want.at(settings.MailPaths{Mail: "/m", Inbox: "/var/mail/u", Index: "/i", Alt: "/a"})
	if got != (settings.MailPaths{Mail: "/m/rookery-store-3", Index: "/i/rookery-store-3", Alt: "/a/rookery-store-3"}) {
		t.Errorf("%+v", got)
	}
	same := settings.MailPaths{Mail: "/m", Inbox: "/var/mail/u"}
	if (Place{Driver: "mbox"}).at(same) != same {
		t.Error("the settings' own place was changed")
	}
}

func FuzzDecodePlace(f *testing.F) {
	f.Add(Place{"maildir", "rookery-store-1"}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodePlace(data)
		if err == nil && string(p.Encode()) != string(data) {
			t.Errorf("%q was read as %+v", data, p)
		}
	})
}
