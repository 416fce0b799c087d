#!/bin/sh
# A stand-in for mount.nfs and mount.cifs, for kernels that have neither: mount(8) of the machine calls it as it would
# call them. /run/network-storage holds the servers, a folder each, and `asked`, what was asked in which order. A server
# with a file `dead` in it refuses, one with `hanging` says nothing until that is gone, one with `login` wants that. One
# with a file `mounts` is mounted by the command in that, which is also told of a file `frozen`.
storage=/run/network-storage
what=$1 where=$2
shift 2
options=
while getopts 'sfnvNo:' option; do
  [ "$option" != o ] || options=$OPTARG
done
printf '%s %s %s %s\n' "${0##*/}" "$what" "$where" "$options" >>"$storage/asked"
case $what in
  //*) server=${what#//} path=${server#*/} server=${server%%/*} ;;
  *) server=${what%%:*} path=${what#*:} ;;
esac
while [ -e "$storage/$server/hanging" ]; do sleep 0.1; done
if [ ! -d "$storage/$server/exports/$path" ] || [ -e "$storage/$server/dead" ]; then
  echo "mount error: could not connect to $server" >&2
  exit 32
fi
if [ -e "$storage/$server/login" ]; then
  file=$(printf '%s' "$options" | tr , '\n' | sed -n 's/^credentials=//p')
  if ! cmp -s "$file" "$storage/$server/login"; then
    echo "mount error(13): Permission denied" >&2
    exit 32
  fi
fi
if [ -e "$storage/$server/mounts" ]; then
  case ,$options, in *,remount,*) exit 0 ;; esac
  exec sh -c "$(cat "$storage/$server/mounts") \"\$@\"" sh "$what" "$where" "$storage/$server/frozen"
fi
case ,$options, in
  *,remount,*) exit 0 ;;
  *,ro,*) mount -n -i --bind "$storage/$server/exports/$path" "$where" && mount -n -i -o remount,bind,ro "$where" ;;
  *) exec mount -n -i --bind "$storage/$server/exports/$path" "$where" ;;
esac
