// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Qemu;

namespace Tidemark.Engine.Doctor;

/// <summary>Whether another user can pass the folders of a path, found out by being that user: modes alone do not tell of ACLs.</summary>
internal static class Passage
{
    /// <summary>The first folder on the way to, and including, <paramref name="path"/> that the user may not enter; null: none. Needs
    /// root.</summary>
    public static async Task<string?> FirstClosedAsync(string path, (uint User, uint Group) user, CancellationToken cancellationToken)
    {
        if (await CanEnterAsync(path, user, cancellationToken))
            return null;
        var folders = new List<string>();
        for (var folder = path; folder is not null; folder = Path.GetDirectoryName(folder))
            folders.Insert(0, folder);
        foreach (var folder in folders)
        {
            if (!await CanEnterAsync(folder, user, cancellationToken))
                return folder;
        }

        return null;
    }

    private static async Task<bool> CanEnterAsync(string folder, (uint User, uint Group) user, CancellationToken cancellationToken)
    {
        var id = user.User.ToString(CultureInfo.InvariantCulture);
        // libvirt gives QEMU the groups of its user, where the host knows that user.
        var isKnown = File.ReadLines("/etc/passwd").Any(line => line.Split(':') is [_, _, var number, ..] && number == id);
        string[] arguments =
        [
            "--reuid", id, "--regid", user.Group.ToString(CultureInfo.InvariantCulture), isKnown ? "--init-groups" : "--clear-groups",
            "--", "test", "-x", folder,
        ];
        var (exitCode, _) = await OwnedProcess.RunAsync(
            "setpriv", arguments, $"enter '{folder}' as user {id}", cancellationToken, accepted: [0, 1]);
        return exitCode == 0;
    }
}
