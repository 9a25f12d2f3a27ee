package settings

import (
	"net/netip"
	"time"
)

// One short maker per kind keeps the declarations readable as a table.

func boolean(name string, def bool, roles Role, file, text string, o ...option) Key[bool] {
	return declare(KindBool, name, def, roles, file, text, o...)
}

func integer(name string, def int64, roles Role, file, text string, o ...option) Key[int64] {
	return declare(KindInt, name, def, roles, file, text, o...)
}

func size(name string, def int64, roles Role, file, text string, o ...option) Key[int64] {
	return declare(KindSize, name, def, roles, file, text, o...)
}

func duration(name string, def time.Duration, roles Role, file, text string, o ...option) Key[time.Duration] {
	return declare(KindDuration, name, def, roles, file, text, o...)
}

func str(name, def string, roles Role, file, text string, o ...option) Key[string] {
	return declare(KindString, name, def, roles, file, text, o...)
}

func enum(name, def string, roles Role, file, text string, o ...option) Key[string] {
	return declare(KindEnum, name, def, roles, file, text, o...)
}

func pathname(name, def string, roles Role, file, text string, o ...option) Key[string] {
	return declare(KindPath, name, def, roles, file, text, o...)
}

func list(name string, def []string, roles Role, file, text string, o ...option) Key[[]string] {
	return declare(KindStrings, name, def, roles, file, text, o...)
}

func wordList(name string, def []string, roles Role, file, text string, o ...option) Key[[]string] {
	return declare(KindWords, name, def, roles, file, text, o...)
}

func networks(name string, def []netip.Prefix, roles Role, file, text string, o ...option) Key[[]netip.Prefix] {
	return declare(KindNetworks, name, def, roles, file, text, o...)
}

func template(name, def string, known []string, roles Role, file, text string, o ...option) Key[Template] {
	t, err := ParseTemplate(def, known)
	if err != nil {
		panic("settings: " + name + ": " + err.Error())
	}
	return declare(KindTemplate, name, t, roles, file, text, append(o, vars(known...))...)
}

// spanDuration is limits for a time.
func spanDuration(low, high time.Duration) option { return limits(int64(low), int64(high)) }
