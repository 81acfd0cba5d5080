package main

import (
	"strings"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
)

// reload reads the configuration file again and puts into force what can change
// in a running daemon. A file with a fault changes nothing.
func (d *daemon) reload() {
	next, err := d.load()
	if err != nil {
		d.log.Error("configuration file not read again, what is in force stays", zap.Error(err))
		return
	}
	merged, restart := d.config.Reload(next)
	shield, err := reconcile.NewShield(merged.ProtectedCgroup, merged.ProtectSystemCgroups)
	if err != nil {
		d.log.Error("configuration file not read again, what is in force stays", zap.Error(err))
		return
	}
	if len(restart) > 0 {
		d.log.Warn("keys that need a restart have changed", zap.String("keys", strings.Join(restart, "; ")))
	}
	d.level.SetLevel(levelOf(merged))
	d.pidFiles.SetRules(pidfiles.Rules{Files: merged.CgroupPidFiles, Command: merged.GetCgroupPidFile, Trust: !merged.PidFileStrict})
	d.reconciler.SetShield(shield)
}
