/* Loaded into programs of the box, to stand between them and a kernel that is not quite a machine's own.
 *
 * NetworkManager takes a veth for what it is. Without the attribute that tells, a card named eth0 is a wired one.
 * sfdisk and sgdisk have the kernel read the partition table again; this kernel reads none, and would drop them all.
 */
#include <linux/fs.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNKNOWN_ATTRIBUTE 0x3fff

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == BLKRRPART)
        return 0;
    return syscall(SYS_ioctl, fd, request, argument);
}

static void hide_kind(struct nlmsghdr *message)
{
    struct ifinfomsg *link = NLMSG_DATA(message);
    struct rtattr *kind = NULL;
    int wired = 0;
    int left = IFLA_PAYLOAD(message);
    for (struct rtattr *one = IFLA_RTA(link); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
        if (one->rta_type == IFLA_IFNAME)
            wired = strncmp(RTA_DATA(one), "eth", 3) == 0;
        if ((one->rta_type & NLA_TYPE_MASK) == IFLA_LINKINFO)
            kind = one;
    }
    if (wired && kind)
        kind->rta_type = UNKNOWN_ATTRIBUTE;
}

ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
    ssize_t length = syscall(SYS_recvmsg, fd, header, flags);
    struct sockaddr_nl *sender = header->msg_name;
    if (length <= 0 || sender == NULL || header->msg_namelen < sizeof *sender || sender->nl_family != AF_NETLINK)
        return length;
    int protocol = -1;
    socklen_t size = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) || protocol != NETLINK_ROUTE)
        return length;
    int left = length < (ssize_t)header->msg_iov[0].iov_len ? length : (int)header->msg_iov[0].iov_len;
    for (struct nlmsghdr *one = header->msg_iov[0].iov_base; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left))
        if (one->nlmsg_type == RTM_NEWLINK)
            hide_kind(one);
    return length;
}
