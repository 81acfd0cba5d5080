// Command idle does nothing, with the daemon's libraries linked in: what a process has in memory before it is of any use.
package main

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/BurntSushi/toml"
	"github.com/cilium/ebpf/link"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"
	"github.com/go-zookeeper/zk"
	"github.com/gorilla/websocket"
	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

func main() {
	linked := []any{
		toml.DecodeFile, daemon.SdNotify, fsnotify.NewWatcher, zk.Connect, new(websocket.Upgrader), redis.NewUniversalClient,
		new(cobra.Command), zap.NewProduction, link.QueryPrograms, &cgroups.DevicesSetV2, new(errgroup.Group), promhttp.Handler,
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	runtime.KeepAlive(linked)
}
