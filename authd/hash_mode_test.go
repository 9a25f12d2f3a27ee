package authd

import (
	"bytes"
	"strings"
	"testing"

	"rookery/authd/internal/passhash"
)

func TestHashMode(t *testing.T) {
	for _, scheme := range []string{"SHA512-CRYPT", "ssha256", "PLAIN"} {
		var out, errOut bytes.Buffer
		if done, exit := HashMode([]string{HashFlag, scheme, "0", "ann"}, strings.NewReader("pass word"), &out, &errOut); !done || exit != 0 {
			t.Fatalf("%s: %v %d %s", scheme, done, exit, errOut.String())
		}
		stored, err := passhash.Parse(strings.TrimSpace(out.String()), "CRYPT", false)
		if err != nil {
			t.Fatal(err)
		}
		for password, want := range map[string]bool{"pass word": true, "pass": false} {
			if ok, err := stored.Verify("ann", []byte(password)); ok != want || err != nil {
				t.Errorf("%s %q: %v %v", scheme, password, ok, err)
			}
		}
	}
	for _, args := range [][]string{{HashFlag}, {HashFlag, "NONE", "0", ""}, {HashFlag, "SHA512-CRYPT", "x", ""}} {
		var out, errOut bytes.Buffer
		if done, exit := HashMode(args, strings.NewReader("p"), &out, &errOut); !done || exit != 64 || errOut.Len() == 0 || out.Len() != 0 {
			t.Errorf("%v: %v %d %q %q", args, done, exit, out.String(), errOut.String())
		}
	}
	if done, _ := HashMode(nil, nil, nil, nil); done {
		t.Error("no argument is no mode")
	}
	var out bytes.Buffer
	if done, exit := HashMode([]string{SchemesFlag}, nil, &out, nil); !done || exit != 0 || !strings.Contains(out.String(), `"scheme":"SHA512-CRYPT"`) {
		t.Errorf("%v %d %s", done, exit, out.String())
	}
}
