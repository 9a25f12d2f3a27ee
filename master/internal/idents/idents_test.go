package idents

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestRead(t *testing.T) {
	db, err := Read(fstest.MapFS{
		"etc/passwd": {Data: []byte("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\nann:x:0:0::/:\n#no:x:5:5:::\nbroken\nneg:x:-1:1:::\nlead:x:01:1:::\n+::::::\n")},
		"etc/group":  {Data: []byte("root:x:0:\nmail:x:8:ann,bob\nshadow:x:42:bob\nmail:x:9:carl\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := db.Lookup("ann"); !ok || u != (User{"ann", 1000, 1001, "/home/ann"}) {
		t.Errorf("%+v: the first line counts", u)
	}
	for _, name := range []string{"#no", "broken", "neg", "lead", "+", ""} {
		if u, ok := db.Lookup(name); ok {
			t.Errorf("%q is %+v", name, u)
		}
	}
	if u, err := db.UserOrNumber("64001"); err != nil || u.UID != 64001 || u.GID != 64001 {
		t.Errorf("%+v %v", u, err)
	}
	if u, err := db.UserOrNumber("ann"); err != nil || u.UID != 1000 {
		t.Errorf("%+v %v", u, err)
	}
	for _, bad := range []string{"nobody", "-1", "4294967296", "0x10", ""} {
		if _, err := db.UserOrNumber(bad); err == nil {
			t.Errorf("%q is a user", bad)
		}
	}
	if got := db.Groups("ann", []string{"mail", "shadow", "none", "mail"}); !slices.Equal(got, []uint32{8}) {
		t.Errorf("%v", got)
	}
	if g, ok := db.Group("shadow"); !ok || g != 42 {
		t.Error(g, ok)
	}
	if _, err := Read(fstest.MapFS{}); err == nil {
		t.Error("no error without the files")
	}
}
