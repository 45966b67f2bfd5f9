// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;
using Tidemark.Lab;

namespace Tidemark.Engine.Tests;

/// <summary>Persistent bitmaps made through the running QEMU, hundreds in one command: libvirt has no record of them.</summary>
internal static class ManyBitmaps
{
    private const int AtOnce = 250;

    /// <summary>Adds bitmaps to a machine's first disk.</summary>
    public static async Task AddAsync(LabMachine machine, IEnumerable<string> names)
    {
        var node = (await machine.QmpAsync("""{"execute":"query-block"}""", EngineLab.Token)).EnumerateArray()
            .First(device => device.GetProperty("qdev").GetString()!.Contains("virtio-disk0", StringComparison.Ordinal))
            .GetProperty("inserted").GetProperty("node-name").GetString();
        foreach (var some in names.Chunk(AtOnce))
        {
            var actions = some.Select(name => (JsonNode)new JsonObject
            {
                ["type"] = "block-dirty-bitmap-add",
                ["data"] = new JsonObject { ["node"] = node, ["name"] = name, ["persistent"] = true },
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
