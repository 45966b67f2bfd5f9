// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>Bitmaps made through the running QEMU, hundreds in one command: libvirt has no record of them.</summary>
internal static class ManyBitmaps
{
    private const int AtOnce = 250;

    /// <summary>Adds bitmaps to one of a machine's virtio disks, counted from 0.</summary>
    public static async Task AddAsync(LabMachine machine, IEnumerable<string> names, int disk = 0, bool persistent = true)
    {
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", EngineLab.Token)).EnumerateArray()
            .First(device => device.GetProperty("qdev").GetString()!.Contains($"virtio-disk{disk}/", StringComparison.Ordinal))
            .GetProperty("inserted").GetProperty("node-name").GetString();
        foreach (var some in names.Chunk(AtOnce))
        {
            var actions = some.Select(name => (JsonNode)new JsonObject
            {
                ["type"] = "block-dirty-bitmap-add",
                ["data"] = new JsonObject { ["node"] = node, ["name"] = name, ["persistent"] = persistent },
            });
            var command = new JsonObject
            {
                ["execute"] = "transaction",
                ["arguments"] = new JsonObject { ["actions"] = new JsonArray([.. actions]) },
            };
            await machine.QmpAsync(command.ToJsonString(), EngineLab.Token);
        }
    }
}
