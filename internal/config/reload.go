package config

import (
	"reflect"
	"slices"
	"strings"
)

// Reload is what a running daemon makes of its configuration and of one that
// was read later: the keys that can change while it runs are those of next, all
// others stay. It also names the keys that differ and stay, sorted: they need a
// restart.
func (c *Config) Reload(next *Config) (merged *Config, restart []string) {
	m := *c
	m.CgroupPidFiles, m.GetCgroupPidFile, m.PidFileStrict = next.CgroupPidFiles, next.GetCgroupPidFile, next.PidFileStrict
	m.ProtectedCgroup, m.ProtectSystemCgroups = next.ProtectedCgroup, next.ProtectSystemCgroups
	m.LogLevel = next.LogLevel
	have, want := reflect.ValueOf(m), reflect.ValueOf(*next)
	for i := range have.NumField() {
		name := have.Type().Field(i).Name
		if name != "File" && !reflect.DeepEqual(have.Field(i).Interface(), want.Field(i).Interface()) {
			restart = append(restart, keyOf(name))
		}
	}
	slices.Sort(restart)
	return &m, restart
}

// keyOf names the key behind a field, or the first of several.
func keyOf(field string) string {
	switch field {
	case "Redis":
		return "redis_ip, redis_port, redis_url or redis_prefix"
	case "HistoryTime":
		return "redis_expire_time"
	case "ZKAuth":
		return "zk_auth_data or zk_auth_file"
	}
	for i := range Keys {
		if strings.EqualFold(strings.ReplaceAll(Keys[i].Name, "_", ""), field) {
			return Keys[i].Name
		}
	}
	return field
}
