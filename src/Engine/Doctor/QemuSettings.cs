// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor;

/// <summary>libvirt's qemu.conf: lines of <c>name = "value"</c>, with comments after <c>#</c>.</summary>
internal static class QemuSettings
{
    /// <summary>The value of a setting; null when it is not set.</summary>
    public static string? Find(string text, string name)
    {
        foreach (var line in text.Split('\n'))
        {
            var parts = line.Split('=', 2);
            if (parts.Length == 2 && parts[0].Trim() == name && parts[1].Trim() is ['"', .. var rest]
                && rest.IndexOf('"') is >= 0 and var end)
                return rest[..end];
        }

        return null;
    }
}
