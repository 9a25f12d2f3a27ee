package numset

import "testing"

func TestWindow(t *testing.T) {
	for _, test := range []struct {
		w        Window
		n        int
		from, to int
		text     string
	}{
		{Window{1, 500, false}, 1000, 0, 500, "1:500"},
		{Window{500, 1, false}, 1000, 0, 500, "500:1"},
		{Window{501, 1000, false}, 700, 500, 700, "501:1000"},
		{Window{701, 1000, false}, 700, 0, 0, "701:1000"},
		{Window{700, 700, false}, 700, 699, 700, "700:700"},
		{Window{1, 4294967295, false}, 3, 0, 3, "1:4294967295"},
		{Window{1, 100, true}, 1000, 900, 1000, "-1:-100"},
		{Window{100, 1, true}, 1000, 900, 1000, "-100:-1"},
		{Window{2, 3, true}, 3, 0, 2, "-2:-3"},
		{Window{2, 9, true}, 3, 0, 2, "-2:-9"},
		{Window{4, 9, true}, 3, 0, 0, "-4:-9"},
		{Window{1, 1, false}, 0, 0, 0, "1:1"},
		{Window{1, 1, true}, 0, 0, 0, "-1:-1"},
		{Window{}, 5, 0, 0, "0:0"},
	} {
		from, to := test.w.Of(test.n)
		if from != test.from || to != test.to || string(test.w.AppendTo(nil)) != test.text {
			t.Errorf("%s of %d: [%d, %d), want [%d, %d)", test.w.AppendTo(nil), test.n, from, to, test.from, test.to)
		}
	}
}
