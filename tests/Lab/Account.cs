// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

/// <summary>A user of the machine by its numbers.</summary>
internal readonly record struct Account(uint UserId, uint GroupId)
{
    internal const string QemuName = "libvirt-qemu";

    /// <summary>What Debian's libvirt-daemon-system gives the user 'libvirt-qemu'; used where that package is not installed.</summary>
    internal static readonly Account Qemu = new(64055, 64055);

    internal static Account? Find(string name)
    {
        foreach (var line in File.ReadLines("/etc/passwd"))
        {
            if (line.Split(':') is [var user, _, var userId, var groupId, ..] && user == name)
                return new Account(uint.Parse(userId), uint.Parse(groupId));
        }
        return null;
    }
}
